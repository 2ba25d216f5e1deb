"""The JSON documents of a run folder: what each holds, and the one place where it is read and written."""

from __future__ import annotations

from pipeline.run.documents.base import Document, records
from pipeline.run.documents.canary import CanaryDocument, FalseAlarms, PlantedCell, TrialDocument
from pipeline.run.documents.choice import Candidate, ChoiceDocument
from pipeline.run.documents.clusters import ClassStrategies, Cluster, ClustersDocument
from pipeline.run.documents.concepts import ChannelEvidence, ClassConcepts, ConceptsDocument
from pipeline.run.documents.confirmation import ConfirmationDocument, EditedClass, EditEffect, Role
from pipeline.run.documents.groups import Estimate, GroupRow, GroupsDocument
from pipeline.run.documents.methods import MethodsDocument, RankedMethod
from pipeline.run.documents.properties import PropertiesDocument, ToldClass, ToldProperty
from pipeline.run.documents.ranking import (
    Curve,
    EditedSummary,
    MeanEffect,
    RankedClass,
    RankingDocument,
    RankingSummary,
    TransferSummary,
)
from pipeline.run.documents.reference import ReferenceDocument
from pipeline.run.documents.sanity import FAILURES, MethodSanity, SanityDocument, sanity_failures
from pipeline.run.documents.triage import BoxCandidate, LabelCandidate, TriageDocument
from pipeline.run.documents.visualized import VisualizedClass, VisualizedDocument
from pipeline.run.inventory import ShardsSeen

__all__ = [
    "FAILURES",
    "BoxCandidate",
    "CanaryDocument",
    "Candidate",
    "ChannelEvidence",
    "ChoiceDocument",
    "ClassConcepts",
    "ClassStrategies",
    "Cluster",
    "ClustersDocument",
    "ConceptsDocument",
    "ConfirmationDocument",
    "Curve",
    "Document",
    "EditEffect",
    "EditedClass",
    "EditedSummary",
    "Estimate",
    "FalseAlarms",
    "GroupRow",
    "GroupsDocument",
    "LabelCandidate",
    "MeanEffect",
    "MethodSanity",
    "MethodsDocument",
    "PlantedCell",
    "PropertiesDocument",
    "RankedClass",
    "RankedMethod",
    "RankingDocument",
    "RankingSummary",
    "ReferenceDocument",
    "Role",
    "SanityDocument",
    "ShardsSeen",
    "ToldClass",
    "ToldProperty",
    "TransferSummary",
    "TriageDocument",
    "TrialDocument",
    "VisualizedClass",
    "VisualizedDocument",
    "records",
    "sanity_failures",
]
