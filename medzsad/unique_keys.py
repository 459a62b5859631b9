"""YAML files whose keys are unique."""

from typing import Any

import yaml


class UniqueKeys(yaml.SafeLoader):
    """YAML's safe loader, but a key that is given twice is an error: PyYAML would silently take the last one."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The node of a mapping; raises a ComposerError, with the line, where a key comes twice."""
        # While the nodes are made, since merge keys (<<) put further keys into them later.
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if (key.tag, key.value) in first:
                problem = f"the key '{key.value}' is given twice, first in line {first[key.tag, key.value]}; keep one"
                raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
            first[key.tag, key.value] = line
        return node
