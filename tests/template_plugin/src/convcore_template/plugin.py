"""The hooks of the template plugin."""

from convcore.plugin import hookimpl

CONVCORE_API = (2, 0)


@hookimpl
def convcore_ops():
    return ["convcore_template.ops:OPS"]


@hookimpl
def convcore_rules(framework):
    return ["convcore_template.rules:KERAS"] if framework == "keras" else []
