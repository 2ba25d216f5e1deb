"""Attribution methods for Keras models: `create_analyzer(name).fit(model).analyze(x)`."""

from explainers.analyzer import Analyzer, Explanation, Fitted, analyze_many
from explainers.registry import MethodInfo, create_analyzer, list_methods

__all__ = [
    "Analyzer",
    "Explanation",
    "Fitted",
    "MethodInfo",
    "analyze_many",
    "create_analyzer",
    "list_methods",
]
