"""The modules that every result shares: whose images these were, and who made this object of them.

Patient and Study modules are copied element by element, so that a PACS files the result in the source's study and
no text changes (PS3.3 C.7.1.1, C.7.1.3, C.7.2.1, C.7.2.2, C.7.2.3). The rest is this software's own.
"""

import unicodedata
from copy import deepcopy
from typing import Final

from pydicom import DataElement, Dataset
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_node import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, MANUFACTURER, __version__
from dicom_node.contract import Algorithm
from dicom_node.entities import derived_uid
from dicom_node.results.objects import KINDS, Kind, RunContext

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
_SERIES_NUMBERS: Final = 500


def new_object(kind: Kind, sop_class_uid: str, source: Dataset, run: RunContext, algorithm: Algorithm) -> Dataset:
    """Return a data set with the modules that every kind of result shares.

    Parameters
    ----------
    source : Dataset
        Any image of the source series.
    """
    dataset = Dataset()
    dataset.SOPClassUID = UID(sop_class_uid)
    dataset.SOPInstanceUID = UID(run.key.uid(kind.lower()))
    dataset.file_meta = _file_meta(dataset)
    dataset.Modality = kind
    dataset.SeriesInstanceUID = UID(run.key.uid(f"{kind.lower()}.series"))
    dataset.InstanceNumber = 1
    copy_identity(source, dataset)
    _add_times(dataset, run)
    _add_equipment(dataset, source, run, algorithm)
    return dataset


def _file_meta(dataset: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta


def copy_identity(source: Dataset, target: Dataset) -> None:
    """Copy character set, Patient and Study modules verbatim; what the source lacks stays absent, type 2 empty."""
    copy_elements(source, target, ("SpecificCharacterSet", *IDENTITY_TYPE_2, *IDENTITY_OPTIONAL))
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


def series_number(kind: Kind, run: RunContext, taken: frozenset[int]) -> int:
    """Return a number that no known source series has; which one depends on the job, so that runs differ."""
    start = int(run.key.digest()[:8], 16) % _SERIES_NUMBERS
    for step in range(_SERIES_NUMBERS):
        pair = run.settings.series_number_base + (start + step) % _SERIES_NUMBERS * len(KINDS)
        if not taken & set(range(pair, pair + len(KINDS))):
            return pair + KINDS.index(kind)
    return run.settings.series_number_base + start * len(KINDS) + KINDS.index(kind)


def code_item(code: Code) -> Dataset:
    """Return a code sequence item (PS3.3 Table 8.8-1)."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    if code.scheme_version:
        item.CodingSchemeVersion = code.scheme_version
    return item


def own_text(text: str, dataset: Dataset) -> str:
    """Return one of our own texts in characters that the source's Specific Character Set can hold (PS3.5 6.1).

    The character set is the source's and is never changed; accents are dropped where it cannot hold them. A
    backslash would separate two values (PS3.5 6.2).
    """
    text = text.replace("\\", "/")
    character_set = dataset.get("SpecificCharacterSet")
    if text.isascii() or (character_set and any(_fits(text, name) for name in convert_encodings(character_set))):
        return text
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeError:
        return False
    return True
