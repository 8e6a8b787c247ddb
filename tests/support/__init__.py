"""What several tests need: faults, servers, clusters, terminals, and slow twins of the kernels; no tests."""

import pytest

# their assertions, too, say what differs
pytest.register_assert_rewrite("support.clusters", "support.export_faults", "support.faults")
