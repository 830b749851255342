"""Faces in a picture, by OpenCV: its YuNet where the model file is at hand, else the cascades that it brings along."""

from pathlib import Path
from threading import local
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pseudoword.errors import UserError

Face = tuple[float, float, float, float]  # left, top, width, height in px

SCORE, OVERLAP, MOST = 0.9, 0.3, 5000  # YuNet's: least certainty, share at which two boxes are one face, candidates
# The first that finds anything wins. Not frontalface_default, which saw faces in 8 of 37 photographs of things and pets
# where frontalface_alt2 saw one, of a toy robot.
CASCADES = ("frontalface_alt2", "profileface")
# px: larger pictures are scaled down. YuNet knows faces of 10 to 300 px; the cascades take time with the area.
LONGEST, LONGEST_FOR_CASCADES = 640, 480
SMALLEST = 0.05  # of the short side
NEIGHBOURS = 7  # findings that have to agree


class BadFaceModel(UserError):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"preprocess.focal.face_model: '{path}' {reason}. Give the path of face_detection_yunet_2023mar.onnx from "
            "OpenCV's model zoo, or null for the cascades that come with OpenCV."
        )


class FaceFinder:
    """Finds faces; may be called from several threads. Raises BadFaceModel when it is made."""

    def __init__(self, model: Path | None) -> None:
        # One picture is one thread's work; and the same sums in the same order give the same points everywhere.
        cv2.setNumThreads(1)
        self._model = model
        self._own = local()
        if model is not None:
            if not model.is_file():
                raise BadFaceModel(model, "is no file")
            try:
                self._yunet(np.zeros((64, 64, 3), np.uint8), model)
            except (cv2.error, AttributeError) as error:
                raise BadFaceModel(model, f"is no YuNet model that OpenCV can run ({_first(error)})") from None

    def __call__(self, image: Image.Image) -> list[Face]:
        """Boxes in an RGB picture, from left to right."""
        scale = min((LONGEST if self._model else LONGEST_FOR_CASCADES) / max(image.size), 1)
        px = [max(round(side * scale), 1) for side in image.size]
        small = image.resize((px[0], px[1]), Image.Resampling.BILINEAR) if scale < 1 else image
        bgr = np.ascontiguousarray(np.asarray(small)[..., ::-1])
        found = self._cascades(bgr) if self._model is None else self._yunet(bgr, self._model)
        return sorted((float(x / scale), float(y / scale), float(w / scale), float(h / scale)) for x, y, w, h in found)

    def _yunet(self, bgr: NDArray[np.uint8], model: Path) -> list[Any]:
        if not hasattr(self._own, "yunet"):
            self._own.yunet = cv2.FaceDetectorYN.create(str(model), "", (64, 64), SCORE, OVERLAP, MOST)
        self._own.yunet.setInputSize((bgr.shape[1], bgr.shape[0]))
        _, faces = self._own.yunet.detect(bgr)
        return [] if faces is None else list(faces[:, :4])

    def _cascades(self, bgr: NDArray[np.uint8]) -> list[Any]:
        if not hasattr(self._own, "cascades"):
            folder = Path(cv2.data.haarcascades)  # type: ignore[attr-defined]
            self._own.cascades = {
                name: cv2.CascadeClassifier(str(folder / f"haarcascade_{name}.xml")) for name in CASCADES
            }
        grey = cv2.equalizeHist(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY))
        least = max(round(SMALLEST * min(grey.shape)), 1)
        for name, cascade in self._own.cascades.items():
            # The profile's knows faces that look to the left.
            for flipped in (False, True) if name == "profileface" else (False,):
                view = np.ascontiguousarray(grey[:, ::-1]) if flipped else grey
                faces = cascade.detectMultiScale(view, 1.1, NEIGHBOURS, minSize=(least, least))
                if len(faces):
                    return [(grey.shape[1] - x - w if flipped else x, y, w, h) for x, y, w, h in faces]
        return []


def _first(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
