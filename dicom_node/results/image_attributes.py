"""What a derived image keeps of the image that it was made from: how, where and when that was acquired.

Only what is named here is copied. What describes the source's pixels - padding, lookup tables, overlays, icons,
smallest and largest values, private groups - no longer holds, and stays behind.
"""

from collections.abc import Mapping
from typing import Final

from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, EnhancedMRImageStorage, MRImageStorage

#: General Series, Enhanced Patient Orientation and Frame of Reference (PS3.3 C.7.3.1, C.7.6.30, C.7.4.1).
_SERIES: Final = (
    "AnatomicalOrientationType", "BodyPartExamined", "Laterality", "PatientPosition", "ProtocolName",
    "PatientOrientationCodeSequence", "PatientEquipmentRelationshipCodeSequence",
    "FrameOfReferenceUID", "PositionReferenceIndicator",
)  # fmt: skip
#: Synchronization (PS3.3 C.7.4.2).
_SYNCHRONIZATION: Final = (
    "TriggerSourceOrType", "SynchronizationTrigger", "SynchronizationChannel", "AcquisitionTimeSynchronized",
    "TimeSource", "TimeDistributionProtocol", "SynchronizationFrameOfReferenceUID",
)  # fmt: skip
#: General Acquisition, General Image, Image Plane, Contrast/Bolus (C.7.10.1, C.7.6.1, C.7.6.2, C.7.6.4).
_CLASSIC: Final = (
    *_SERIES,
    "AcquisitionUID", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "AcquisitionDuration",
    "AcquisitionNumber", "IrradiationEventUID",
    "PatientOrientation", "ImageLaterality", "AnatomicRegionSequence", "PrimaryAnatomicStructureSequence",
    "SliceThickness", "SpacingBetweenSlices", "SliceLocation", "ViewCodeSequence",
    "SliceProgressionDirection", "IsocenterPosition",
    "ContrastBolusAgent", "ContrastBolusAgentSequence", "ContrastBolusAdministrationRouteSequence",
    "ContrastBolusRoute", "ContrastBolusVolume", "ContrastBolusStartTime", "ContrastBolusStopTime",
    "ContrastBolusTotalDose", "ContrastFlowRate", "ContrastFlowDuration", "ContrastBolusIngredient",
    "ContrastBolusIngredientConcentration",
)  # fmt: skip
#: MR Image (C.8.3.1).
_MR: Final = (
    *_CLASSIC,
    "ScanningSequence", "SequenceVariant", "ScanOptions", "MRAcquisitionType", "SequenceName", "AngioFlag",
    "RepetitionTime", "EchoTime", "InversionTime", "NumberOfAverages", "ImagingFrequency", "ImagedNucleus",
    "EchoNumbers", "MagneticFieldStrength", "NumberOfPhaseEncodingSteps", "EchoTrainLength", "PercentSampling",
    "PercentPhaseFieldOfView", "PixelBandwidth", "TriggerTime", "NominalInterval", "BeatRejectionFlag",
    "LowRRValue", "HighRRValue", "IntervalsAcquired", "IntervalsRejected", "PVCRejection", "SkipBeats", "HeartRate",
    "CardiacNumberOfImages", "TriggerWindow", "ReconstructionDiameter", "ReceiveCoilName", "TransmitCoilName",
    "AcquisitionMatrix", "InPlanePhaseEncodingDirection", "FlipAngle", "VariableFlipAngleFlag", "SAR", "dBdt",
    "B1rms", "TemporalPositionIdentifier", "NumberOfTemporalPositions", "TemporalResolution",
)  # fmt: skip
#: CT Image (C.8.2.1).
_CT: Final = (
    *_CLASSIC, *_SYNCHRONIZATION,
    "ScanOptions", "KVP", "DataCollectionDiameter", "ReconstructionDiameter", "DistanceSourceToDetector",
    "DistanceSourceToPatient", "GantryDetectorTilt", "TableHeight", "RotationDirection", "ExposureTime",
    "XRayTubeCurrent", "Exposure", "ExposureInuAs", "FilterType", "GeneratorPower", "FocalSpots",
    "ConvolutionKernel", "FilterMaterial", "RevolutionTime", "SingleCollimationWidth", "TotalCollimationWidth",
    "TableSpeed", "TableFeedPerRotation", "SpiralPitchFactor", "DataCollectionCenterPatient",
    "ReconstructionTargetCenterPatient", "ExposureModulationType", "CTDIvol", "CTDIPhantomTypeCodeSequence",
    "RescaleType",
)  # fmt: skip
#: Enhanced multi-frame: what stands beside the functional groups (C.7.6.16, C.7.6.17, C.7.6.18, C.8.13.1, C.8.15.2).
_ENHANCED: Final = (
    *_SERIES, *_SYNCHRONIZATION,
    "AcquisitionNumber", "AcquisitionDateTime", "AcquisitionDuration", "ReferencedImageEvidenceSequence",
    "PixelPresentation", "VolumetricProperties", "VolumeBasedCalculationTechnique",
    "ViewCodeSequence", "SliceProgressionDirection", "IsocenterPosition", "ContrastBolusAgentSequence",
    "AcquisitionContextSequence", "DimensionOrganizationSequence", "DimensionIndexSequence",
    "DimensionOrganizationType",
    "CardiacFramingType", "LowRRValue", "HighRRValue", "IntervalsAcquired", "IntervalsRejected", "SkipBeats",
    "CardiacSynchronizationTechnique", "CardiacRRIntervalSpecified", "CardiacSignalSource",
    "CardiacBeatRejectionTechnique", "RespiratoryMotionCompensationTechnique", "RespiratorySignalSource",
    "RespiratoryTriggerType", "RespiratoryTriggerDelayThreshold", "BulkMotionCompensationTechnique",
    "BulkMotionSignalSource",
)  # fmt: skip
#: Enhanced MR Image (C.8.13.1). How the signal was made (MR Pulse Sequence, C.8.13.4) only original images may say.
_ENHANCED_MR: Final = (
    *_ENHANCED,
    "ComplexImageComponent", "AcquisitionContrast", "MagneticFieldStrength", "B1rms", "KSpaceFiltering",
    "ResonantNucleus", "ApplicableSafetyStandardAgency", "ApplicableSafetyStandardDescription",
)  # fmt: skip

#: By SOP class: those that derived images are made of, and what of each is kept.
KEPT: Final[Mapping[str, tuple[str, ...]]] = {
    MRImageStorage: _MR,
    CTImageStorage: _CT,
    EnhancedMRImageStorage: _ENHANCED_MR,
    EnhancedCTImageStorage: _ENHANCED,
}
