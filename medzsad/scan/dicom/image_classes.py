"""Which DICOM objects are images that can be scored, told by SOP class and modality."""

from medzsad.scan.dicom.header_values import is_uid, uid_name

_FURTHER_IMAGES = frozenset({"Enhanced US Volume Storage"})
# Images by name that show no body: printing, baggage, work pieces, and what a beam of therapy leaves on a plate.
_NO_SCANS = ("Hardcopy", "DICOS", "Eddy Current", "RT Image", "Enhanced RT", "Enhanced Continuous RT")
_NAMES = {  # younger than the dictionary of pydicom
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation Storage",
}
# PS3.3 C.7.3.1.1.1, as far as it names no images.
_OTHER_MODALITIES = frozenset([
    "ANN", "AR", "ASMT", "AU", "CTPROTOCOL", "DOC", "DSS", "ECG", "EEG", "EMG", "EOG", "EPS", "FID", "HC", "HD",
    "IOL", "KER", "KO", "LEN", "M3D", "MCTPROTOCOL", "OAM", "OPM", "OPV", "PLAN", "POS", "PR", "REG", "RESP",
    "RTDOSE", "RTIMAGE", "RTINTENT", "RTPLAN", "RTRAD", "RTRECORD", "RTSEGANN", "RTSTRUCT", "RWV", "SEG", "SMR", "SR",
    "SRF", "STAIN", "TEXTUREMAP", "VA", "XAPROTOCOL",
])  # fmt: skip
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def class_name(sop_class_uid: str) -> str:
    """The name of a storage class, "" where it is not known."""
    return _NAMES.get(sop_class_uid) or uid_name(sop_class_uid)


def image_problem(sop_class_uid: str, modality: str) -> str:
    """Why an object is no image that can be scored, as the predicate of a sentence with its advice; "" if it is one.

    A storage class that is not known is no image: what its pixels mean cannot be told.

    Args:
        sop_class_uid: SOPClassUID.
        modality: Modality, "" where it is absent.
    """
    name = class_name(sop_class_uid)
    if not name:
        shown = sop_class_uid if is_uid(sop_class_uid) else "its UID is not valid"
        return (
            f"is of a storage class that is not known ({shown}), so what its pixels mean is not known either."
            " Export it as a standard image (CT, MR, PET, ...) or convert it to NIfTI, or leave it out."
        )
    image = name in _FURTHER_IMAGES or ("Image Storage" in name and not name.startswith(_NO_SCANS))
    if not image:
        return f"holds no image that can be scored ({name}). Leave it out."
    if modality in _OTHER_MODALITIES:
        return f"holds no image that can be scored (Modality {modality}, {name}). Leave it out."
    return ""
