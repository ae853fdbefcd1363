"""The modules that every result shares: whose images these were, and who made this object of them.

Patient and Study modules are copied element by element, so that a PACS files the result in the source's study and
no text changes (PS3.3 C.7.1.1, C.7.1.3, C.7.2.1, C.7.2.2, C.7.2.3). The rest is this software's own.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Final

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import UID

from dicom_node import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, MANUFACTURER, __version__
from dicom_node.contract import Algorithm
from dicom_node.entities import derived_uid
from dicom_node.presentation import RESULT_TRANSFER_SYNTAXES
from dicom_node.results.characters import written
from dicom_node.results.item_copies import element_copy
from dicom_node.results.objects import KINDS, RunContext
from dicom_node.settings import ResultKind

#: Type 2 in Patient and General Study: written empty where the source has none.
IDENTITY_TYPE_2: Final = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber",
)  # fmt: skip
#: Everything else of the Patient, Clinical Trial Subject, General Study, Patient Study, Clinical Trial Study modules.
IDENTITY_OPTIONAL: Final = (
    "StudyInstanceUID", "TimezoneOffsetFromUTC",
    "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID", "PatientBirthTime",
    "PatientBirthDateInAlternativeCalendar", "PatientDeathDateInAlternativeCalendar", "PatientAlternativeCalendar",
    "OtherPatientIDs", "OtherPatientIDsSequence", "OtherPatientNames", "PatientBirthName",
    "PatientMotherBirthName", "EthnicGroup", "PatientComments",
    "QualityControlSubject", "ReferencedPatientSequence",
    "PatientSpeciesDescription", "PatientSpeciesCodeSequence", "PatientBreedDescription",
    "PatientBreedCodeSequence", "BreedRegistrationSequence", "StrainDescription", "StrainNomenclature",
    "StrainCodeSequence", "StrainAdditionalInformation", "StrainStockSequence", "GeneticModificationsSequence",
    "ResponsiblePerson", "ResponsiblePersonRole", "ResponsibleOrganization",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "IssuerOfClinicalTrialProtocolID",
    "ClinicalTrialProtocolName", "ClinicalTrialSiteID", "IssuerOfClinicalTrialSiteID", "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID", "IssuerOfClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID",
    "IssuerOfClinicalTrialSubjectReadingID", "ClinicalTrialProtocolEthicsCommitteeName",
    "ClinicalTrialProtocolEthicsCommitteeApprovalNumber",
    "ClinicalTrialTimePointID", "IssuerOfClinicalTrialTimePointID", "ClinicalTrialTimePointDescription",
    "LongitudinalTemporalOffsetFromEvent", "LongitudinalTemporalEventType",
    "ConsentForClinicalTrialUseSequence",
    "ReferringPhysicianIdentificationSequence", "ConsultingPhysicianName",
    "ConsultingPhysicianIdentificationSequence", "IssuerOfAccessionNumberSequence", "StudyDescription",
    "PhysiciansOfRecord", "PhysiciansOfRecordIdentificationSequence", "NameOfPhysiciansReadingStudy",
    "PhysiciansReadingStudyIdentificationSequence", "RequestingService", "RequestingServiceCodeSequence",
    "ReferencedStudySequence", "ProcedureCodeSequence", "ReasonForPerformedProcedureCodeSequence",
    "AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence", "PatientAge", "PatientSize",
    "PatientWeight", "PatientSizeCodeSequence", "PatientBodyMassIndex", "MeasuredAPDimension",
    "MeasuredLateralDimension", "MedicalAlerts", "Allergies", "SmokingStatus", "PregnancyStatus",
    "LastMenstrualDate", "PatientState", "Occupation", "AdditionalPatientHistory", "AdmissionID",
    "IssuerOfAdmissionIDSequence", "ServiceEpisodeID", "IssuerOfServiceEpisodeIDSequence",
    "ServiceEpisodeDescription", "PatientSexNeutered", "ReasonForVisit", "ReasonForVisitCodeSequence",
)  # fmt: skip

_ACQUISITION_EQUIPMENT: Final = Code("109101", "DCM", "Acquisition Equipment")
_EQUIPMENT: Final = (
    "Manufacturer", "InstitutionName", "InstitutionAddress", "StationName", "InstitutionalDepartmentName",
    "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions",
)  # fmt: skip
_LO_LENGTH: Final = 64
_SH_LENGTH: Final = 16
_CS_LENGTH: Final = 16
#: What a profile calls the character set of the source.
SOURCE_CHARACTER_SET: Final = "source"
#: Blocks of series numbers, one number for each kind; further series of a kind lie a whole range higher.
_BLOCKS: Final = 1000
_BLOCK: Final = 10
#: PS3.3 C.7.3.1.1.1; a kind that is absent has the modality of its source.
MODALITIES: Final[Mapping[ResultKind, str]] = {
    ResultKind.SEGMENTATION: "SEG",
    ResultKind.REPORT: "SR",
    ResultKind.PICTURE: "OT",
    ResultKind.DOCUMENT: "DOC",
    ResultKind.KEY_OBJECTS: "KO",
    ResultKind.PRESENTATION_STATE: "PR",
}


def new_object(
    kind: ResultKind,
    sop_class_uid: str,
    source: Dataset,
    run: RunContext,
    algorithm: Algorithm,
    *,
    series: int = 1,
    instance: int = 1,
) -> Dataset:
    """Return a data set with the modules that every kind of result shares.

    Parameters
    ----------
    source : Dataset
        Any image of the source series.
    series, instance : int
        From 1: which series of this kind, and which instance of it.
    """
    of_series = kind.lower() if series == 1 else f"{kind.lower()}{series}"
    dataset = Dataset()
    dataset.SOPClassUID = UID(sop_class_uid)
    dataset.SOPInstanceUID = UID(run.key.uid(of_series if instance == 1 else f"{of_series}.{instance}"))
    dataset.file_meta = _file_meta(dataset, RESULT_TRANSFER_SYNTAXES[run.profile.transfer_syntax])
    dataset.Modality = MODALITIES.get(kind) or source.Modality
    dataset.SeriesInstanceUID = UID(run.key.uid(f"{of_series}.series"))
    dataset.InstanceNumber = instance
    copy_identity(source, dataset, run.profile.character_set)
    _add_times(dataset, run)
    _add_equipment(dataset, source, run, algorithm)
    return dataset


def _file_meta(dataset: Dataset, transfer_syntax: UID) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta


def copy_identity(source: Dataset, target: Dataset, character_set: str = SOURCE_CHARACTER_SET) -> None:
    """Copy character set, Patient and Study modules verbatim; what the source lacks stays absent, type 2 empty.

    Parameters
    ----------
    character_set : str
        "source", or "ISO_IR 192": texts are decoded, and will be written in UTF-8 (PS3.3 C.12.1.1.2).
    """
    if character_set == SOURCE_CHARACTER_SET:
        copy_elements(source, target, ("SpecificCharacterSet", *IDENTITY_TYPE_2, *IDENTITY_OPTIONAL))
    else:
        target.SpecificCharacterSet = character_set
        for keyword in (*IDENTITY_TYPE_2, *IDENTITY_OPTIONAL):
            if keyword in source:
                target.add(element_copy(deepcopy(source[keyword]), private=True, own_character_sets=False))
    for keyword in IDENTITY_TYPE_2:
        if keyword not in target:
            tag = tag_for_keyword(keyword)
            if tag is not None:
                target.add(DataElement(tag, dictionary_VR(tag), None))


def copy_elements(source: Dataset, target: Dataset, keywords: tuple[str, ...]) -> None:
    """Copy those elements that the source has, without a second validation of their values."""
    for keyword in keywords:
        if keyword in source:
            target.add(deepcopy(source[keyword]))


def copy_compression(source: Dataset, target: Dataset) -> None:
    """Say whether the pixels were ever lossy compressed, and how (PS3.3 C.7.6.1.1.5): once lossy, always lossy."""
    target.LossyImageCompression = "00"
    if source.get("LossyImageCompression") == "01":
        keywords = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
        copy_elements(source, target, keywords)


def _add_times(dataset: Dataset, run: RunContext) -> None:
    now = run.now(str(dataset.get("TimezoneOffsetFromUTC") or ""))
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S.%f")
    dataset.InstanceCreationDate = dataset.ContentDate = dataset.SeriesDate = date
    dataset.InstanceCreationTime = dataset.ContentTime = dataset.SeriesTime = time


def _add_equipment(dataset: Dataset, source: Dataset, run: RunContext, algorithm: Algorithm) -> None:
    """Add General and Enhanced General Equipment (PS3.3 C.7.5.1, C.7.5.2); the scanner is named as contributing."""
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = own_text(run.pipeline_title, dataset)[:_LO_LENGTH]
    dataset.DeviceSerialNumber = own_text(run.node_name, dataset)[:_LO_LENGTH]
    versions = (__version__, f"{algorithm.name} {algorithm.version}")
    dataset.SoftwareVersions = [own_text(text, dataset)[:_LO_LENGTH] for text in versions]
    scanner = Dataset()
    copy_elements(source, scanner, _EQUIPMENT)
    if scanner.get("Manufacturer"):
        scanner.PurposeOfReferenceCodeSequence = [code_item(_ACQUISITION_EQUIPMENT)]
        dataset.ContributingEquipmentSequence = [scanner]


def device_uid(node_name: str) -> str:
    """Return the UID of this node as a device observer (PS3.16 TID 1004), the same for ever."""
    return derived_uid(f"device/{node_name}")


def series_number(kind: ResultKind, run: RunContext, taken: frozenset[int], series: int = 1) -> int:
    """Return a number that no known source series has; which one depends on the job, so that runs differ."""
    base = run.profile.series_number_base or 0
    start = int(run.key.digest()[:8], 16) % _BLOCKS
    blocks = [base + (start + step) % _BLOCKS * _BLOCK for step in range(_BLOCKS)]
    block = next((number for number in blocks if not taken & set(range(number, number + _BLOCK))), blocks[0])
    return block + KINDS.index(kind) + (series - 1) * _BLOCKS * _BLOCK


def series_description(
    kind: ResultKind, run: RunContext, algorithm: Algorithm, dataset: Dataset, label: str = ""
) -> str:
    """Return Series Description (0008,103E) by the profile's template."""
    template = run.profile.series_description
    # two maps or two image series of a job are told apart by their labels, whatever the template
    kind_shown = f"{kind} {label}" if label and "{label" not in template else str(kind)
    text = template.format(
        title=run.pipeline_title, pipeline=algorithm.name, version=algorithm.version, kind=kind_shown, label=label
    )
    return own_text(" ".join(text.split()), dataset)[:_LO_LENGTH]


def content_label(text: str) -> str:
    """Return Content Label (0070,0080): a text in the capitals and the length of VR CS (PS3.5 6.2)."""
    return re.sub(r"[^A-Z0-9_ ]+", "_", own_text(text, Dataset()).upper())[:_CS_LENGTH].strip()


def code_item(code: Code) -> Dataset:
    """Return a code sequence item (PS3.3 Table 8.8-1)."""
    item = Dataset()
    if len(code.value) <= _SH_LENGTH:
        item.CodeValue = code.value
    else:
        item.LongCodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    if code.scheme_version:
        item.CodingSchemeVersion = code.scheme_version
    return item


def own_text(text: str, dataset: Dataset) -> str:
    """Return one of our own texts as the Specific Character Set of a data set, which is the source's, can hold it."""
    return written(text, dataset.get("SpecificCharacterSet"))
