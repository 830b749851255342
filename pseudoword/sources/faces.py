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
# Degrees, to both sides, by which a face may lean where none stands upright: a cascade bears about 10. It is looked for
# in a smaller picture, to save time, and counts if another cascade sees it too, in a patch where it stands upright.
TILTS, LONGEST_TILTED, NEIGHBOURS_TILTED = (20, 40, 90), 320, 2
CHECK, NEIGHBOURS_CHECKED = "frontalface_alt", 15
PATCH, FACE_IN_PATCH, LEAST_IN_PATCH, MOST_IN_PATCH = 96, 48, 34, 72  # px


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
                name: cv2.CascadeClassifier(str(folder / f"haarcascade_{name}.xml")) for name in (*CASCADES, CHECK)
            }
        plain = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
        grey = cv2.equalizeHist(plain)
        for name in CASCADES:
            # The profile's knows faces that look to the left.
            for flipped in (False, True) if name == "profileface" else (False,):
                view = np.ascontiguousarray(grey[:, ::-1]) if flipped else grey
                faces = self._seen(name, view, NEIGHBOURS)
                if len(faces):
                    return [(grey.shape[1] - x - w if flipped else x, y, w, h) for x, y, w, h in faces]
        for tilt in TILTS:
            if leaning := [*self._leaning(plain, tilt), *self._leaning(plain, -tilt)]:
                return leaning
        return []

    def _seen(self, name: str, grey: NDArray[Any], neighbours: int) -> Any:
        least = max(round(SMALLEST * min(grey.shape)), 1)
        return self._own.cascades[name].detectMultiScale(grey, 1.1, neighbours, minSize=(least, least))

    def _leaning(self, grey: NDArray[Any], tilt: int) -> list[Any]:
        """Faces that lean to the left by `tilt` degrees, as upright squares around their middle."""
        height, width = grey.shape
        scale = min(LONGEST_TILTED / max(width, height), 1)
        turn = cv2.getRotationMatrix2D((0, 0), -tilt, scale)
        corners = turn[:, :2] @ [[0, width, 0, width], [0, 0, height, height]]
        turn[:, 2] = -corners.min(1)
        px = np.maximum(np.ptp(corners, 1).round().astype(int), 1)
        back = cv2.invertAffineTransform(turn)
        faces = []
        for x, y, side, _ in self._seen(CASCADES[0], _turned(grey, turn, px[0], px[1]), NEIGHBOURS_TILTED):
            middle = back @ [x + side / 2, y + side / 2, 1]
            face = side / scale
            # The turned picture has corners that the picture does not have.
            if 0 <= middle[0] < width and 0 <= middle[1] < height and self._confirmed(grey, middle, face, tilt):
                faces.append((middle[0] - face / 2, middle[1] - face / 2, face, face))
        return faces

    def _confirmed(self, grey: NDArray[Any], middle: NDArray[Any], face: float, tilt: int) -> bool:
        turn = cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), -tilt, FACE_IN_PATCH / face)
        turn[:, 2] = turn[:, 2] + (PATCH / 2 - middle)
        patch = _turned(grey, turn, PATCH, PATCH)
        least, most = (LEAST_IN_PATCH, LEAST_IN_PATCH), (MOST_IN_PATCH, MOST_IN_PATCH)
        check = self._own.cascades[CHECK]
        return len(check.detectMultiScale(patch, 1.05, NEIGHBOURS_CHECKED, minSize=least, maxSize=most)) > 0


def _turned(grey: NDArray[Any], turn: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Moved by (2, 3), its edges drawn out over what is new, its greys spread."""
    moved = cv2.warpAffine(grey, turn, (int(width), int(height)), borderMode=cv2.BORDER_REPLICATE)
    return cv2.equalizeHist(moved)


def _first(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
