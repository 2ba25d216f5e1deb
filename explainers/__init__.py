"""Attribution methods for Keras models: `create_analyzer(name).fit(model).analyze(x)`."""

from explainers.analyzer import Analyzer, Explanation, Fitted, analyze_many
from explainers.errors import ExplainError
from explainers.model.describe import register_kind
from explainers.model.graph import Graph, Node
from explainers.model.trace import trace
from explainers.preflight import Plan, plan
from explainers.registry import MethodInfo, create_analyzer, list_methods, method_info
from explainers.rules.ledger import Ledger

__all__ = [
    "Analyzer",
    "ExplainError",
    "Explanation",
    "Fitted",
    "Graph",
    "Ledger",
    "MethodInfo",
    "Node",
    "Plan",
    "analyze_many",
    "create_analyzer",
    "list_methods",
    "method_info",
    "plan",
    "register_kind",
    "trace",
]
