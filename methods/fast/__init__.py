"""Equivalents of hosts that no paper describes: the same results up to rounding, in less time.

A method is asked for its fast form by `Method.optimized_for(device)`.
"""

from __future__ import annotations

from collections.abc import Mapping

FORMS: Mapping[str, str] = {
    "cdfss_bench.methods.hosts.abcdfss:ABCDFSS": "cdfss_bench.methods.fast.abcdfss:FastABCDFSS",
    "cdfss_bench.methods.hosts.hsnet:HSNet": "cdfss_bench.methods.fast.hsnet:FastHSNet",
    "cdfss_bench.methods.hosts.patnet:PATNet": "cdfss_bench.methods.fast.patnet:FastPATNet",
    "cdfss_bench.methods.hosts.ssp:SSP": "cdfss_bench.methods.fast.ssp:FastSSP",
    "cdfss_bench.methods.hosts.ifa:IFA": "cdfss_bench.methods.fast.ssp:FastIFA",
}
"""The class that computes in the place of a host's, `module:Class` each.

By the class itself: what somebody derives from a host may compute something else.
"""
