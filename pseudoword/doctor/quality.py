"""What is wrong with one picture: too small, out of focus, cropped badly, with bars."""

from collections.abc import Sized

import numpy as np

from pseudoword.doctor.case import Case, percent, shape, shown, sources
from pseudoword.doctor.pictures import MeasuredPicture
from pseudoword.findings import Finding, Severity, names
from pseudoword.pictures.opening import has_frames

WARNING_THEN_INFO: tuple[Severity, ...] = ("warning", "info")
MAX_ENLARGEMENT = 1.25  # factor from which detail is missing that training would take for the thing's own look
MIN_SHARPNESS = 1.3  # sharpness below which a picture looks blurred at the size of training
MIN_BRIGHTNESS = 40  # of 255: brightness that 99 % of a picture stay below. 12 bits in a file of 16 reach 16
MIN_SHARE_OF_MEDIAN = 0.5  # of the pictures' median sharpness
MAX_EXTRA_LOSS = 0.25  # what a crop loses above its share of the area, as a share of what catches the eye
WARNING_LOSS = 0.8


def too_small(case: Case) -> list[Finding]:
    """Pictures that are enlarged for training; a slight enlargement is only told."""
    factors = {picture.source: (picture, picture.enlarged) for picture in case.distinct}
    findings = []
    for severity in WARNING_THEN_INFO:
        low, high = (MAX_ENLARGEMENT, float("inf")) if severity == "warning" else (1.02, MAX_ENLARGEMENT)
        found = {source: factor for source, (_, factor) in factors.items() if low <= factor < high}
        if found:
            worst = max(found, key=lambda source: found[source])
            picture = factors[worst][0]
            findings.append(
                Finding(
                    check="small",
                    severity=severity,
                    message=f"{names(list(found))} {_is(found)} enlarged to {shape(picture.px)} px, "
                    f"{f'{worst} ' if len(found) > 1 else ''}{found[worst]:.1f} times "
                    f"({picture.width} x {picture.height} px): the word learns the softness.",
                    advice="Find a larger original, or take it out; a lower preprocess.resolution helps where the "
                    "base model was trained on it.",
                    pictures=shown(factors[source][0] for source in found),
                    figure={"enlarged": {source: round(factor, 2) for source, factor in found.items()}},
                )
            )
    return findings


def animated(case: Case) -> list[Finding]:
    """Animations and files of several pages, of which training sees the first frame alone."""
    found = [picture for picture in case.originals if has_frames(case.intent.folder / picture.source)]
    if not found:
        return []
    return [
        Finding(
            check="animated",
            severity="info",
            message=f"Of {names(sources(found))} only the first frame or page is used.",
            advice="Where another frame shows more, save it as a picture of its own.",
            pictures=shown(found),
        )
    ]


def blurred(case: Case) -> list[Finding]:
    """Pictures that are much softer than the others; if most are soft, only that. Those without an edge are told."""
    pictures = [picture for picture in case.distinct if picture.enlarged < MAX_ENLARGEMENT]
    edgeless = [picture for picture in pictures if picture.sharpness is None]
    sharpness = {picture.source: picture.sharpness for picture in pictures if picture.sharpness is not None}
    return [*_soft(pictures, sharpness), *_edgeless(edgeless)]


def _soft(pictures: list[MeasuredPicture], sharpness: dict[str, float]) -> list[Finding]:
    soft = [picture for picture in pictures if sharpness.get(picture.source, MIN_SHARPNESS) < MIN_SHARPNESS]
    if not soft:
        return []
    usual = float(np.median(list(sharpness.values())))
    figure = {
        "median": round(usual, 2),
        "sharpness": {picture.source: round(sharpness[picture.source], 2) for picture in soft},
    }
    if len(soft) > len(sharpness) / 2:
        return [
            Finding(
                check="blurred",
                severity="info",
                message=f"{len(soft)} of {len(pictures)} pictures are soft at the size of training "
                f"({names(sources(soft))}): the word learns softness as part of it.",
                advice="Fine for a soft style; otherwise use sharper pictures or a lower preprocess.resolution.",
                pictures=shown(soft),
                figure=figure,
            )
        ]
    stray = [picture for picture in soft if sharpness[picture.source] < MIN_SHARE_OF_MEDIAN * usual]
    if not stray:
        return []
    return [
        Finding(
            check="blurred",
            severity="warning",
            message=f"{names(sources(stray))} {_is(stray)} blurred: nothing there is as sharp as in the others.",
            advice="Leave it out or use a sharper picture of the same.",
            pictures=shown(stray),
            figure=figure,
        )
    ]


def _edgeless(pictures: list[MeasuredPicture]) -> list[Finding]:
    if not pictures:
        return []
    return [
        Finding(
            check="blurred",
            severity="info",
            message=f"Nothing in {names(sources(pictures))} has an edge from which its sharpness could be told: "
            f"{'it is' if len(pictures) == 1 else 'each is'} blurred by many px, or plain.",
            advice="Look whether there is anything to learn in it.",
            pictures=shown(pictures),
        )
    ]


def nearly_black(case: Case) -> list[Finding]:
    """Pictures in which next to nothing is brighter than black."""
    brightest = {picture.source: (picture, float(np.percentile(picture.grey, 99))) for picture in case.distinct}
    found = {source: level for source, (_, level) in brightest.items() if level < MIN_BRIGHTNESS}
    if not found:
        return []
    return [
        Finding(
            check="dark",
            severity="warning",
            message=f"{names(list(found))} {_is(found)} nearly black, at most {max(found.values()):.0f} of 255 bright: "
            "there is next to nothing to learn in it.",
            advice="Brighten it or take it out. Cameras and scanners store 10 or 12 bits in files of 16, which "
            "are that dark until their levels are stretched.",
            pictures=shown(brightest[source][0] for source in found),
            figure={"brightest": {source: round(level) for source, level in found.items()}},
        )
    ]


def bad_crop(case: Case) -> list[Finding]:
    """Pictures whose crop cuts off most of what catches the eye."""
    by_hand = "rop it by hand so that the subject is in the middle."
    focal = case.intent.preprocess.crop == "focal"
    advice = f"C{by_hand}" if focal else f"Set preprocess.crop to focal, or c{by_hand}"
    cut = [
        picture
        for picture in case.pictures
        if not picture.mirrored and not picture.tile and picture.lost >= picture.lost_area + MAX_EXTRA_LOSS
    ]
    findings = []
    for severity in WARNING_THEN_INFO:
        found = [picture for picture in cut if (picture.lost >= WARNING_LOSS) == (severity == "warning")]
        if found:
            worst = max(found, key=lambda picture: picture.lost)
            findings.append(
                Finding(
                    check="crop",
                    severity=severity,
                    message=f"The crop of {names(sources(found))} may miss the subject: {percent(worst.lost)} of what "
                    f"catches the eye in {worst.source} lies outside it, with {percent(worst.lost_area)} of the area.",
                    advice=advice,
                    pictures=shown(found),
                    figure={"lost": {picture.source: round(picture.lost, 2) for picture in found}},
                )
            )
    return findings


def borders(case: Case) -> list[Finding]:
    """Pictures with bars of one colour at opposite sides."""
    found = [picture for picture in case.distinct if any(picture.bars)]
    if not found:
        return []
    widths = {picture.source: round(max(picture.bars), 2) for picture in found}
    return [
        Finding(
            check="borders",
            severity="warning",
            message=f"{names(sources(found))} {'has' if len(found) == 1 else 'have'} bars of one colour at the edges, "
            f"up to {percent(max(widths.values()))} of the side: the word learns to draw them.",
            advice="Cut the bars off.",
            pictures=shown(found),
            figure={"bar": widths},
        )
    ]


def _is(found: Sized) -> str:
    return "is" if len(found) == 1 else "are"
