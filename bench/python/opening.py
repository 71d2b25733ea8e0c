"""`cdfss_bench.open_domain`: that of `datasets`, with errors in its words."""

from cdfss_bench import datasets

from .wording import in_python_words

open_domain = in_python_words(data_root="root")(datasets.open_domain)
