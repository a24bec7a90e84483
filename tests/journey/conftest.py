"""Some modules under test are models, which Django must know."""

import tests.devops.databases  # noqa: F401 # sets Django up
