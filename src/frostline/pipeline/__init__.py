"""From a recipe and images to a finished run: the only place where the parts are put together.

Each step takes what the one before gave and returns a frozen value: `prepare` (a network with a
new head, images with splits), `planning` (what to keep, by which engine), `fill` (all activations
are there), `fit` (trained), `finish` (scored and written). Other commands begin or end elsewhere.
"""

from frostline.pipeline.embedding import embed, traced
from frostline.pipeline.prepare import refuse_paths_inside_images
from frostline.pipeline.rate_finder import find_rate
from frostline.pipeline.run import plan, train

__all__ = ["embed", "find_rate", "plan", "refuse_paths_inside_images", "traced", "train"]
