"""A short run that tests of trained policies share."""

import safeloop

SMALL = {
    "population": 6, "horizon": 2, "iterations": 1, "elites": 2, "ensemble_size": 2, "layers": 1, "width": 8,
    "batch_size": 8, "warmup": 50, "first_fit_steps": 20, "fit_steps": 2,
}  # fmt: skip


def short_rce(out, **options):
    """The folder of a short run of `rce` in `out`, whose episodes have 100 decisions."""
    safeloop.run("RCCarDrift", ["rce"], steps=200, eval_episodes=1, settings=SMALL, out=out, quiet=True, **options)
    return out / "RCCarDrift/rce/seed-0"
