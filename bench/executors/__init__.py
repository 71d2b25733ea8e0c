"""Where cells are computed: processes of this machine, or a Ray cluster.

The seam is `crew.Crew`: workers that take one task each and report. What to hand to whom, when to
try again and when to give up is decided once, in `dispatch`.
"""
