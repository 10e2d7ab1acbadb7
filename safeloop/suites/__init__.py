"""Suites that come with safeloop, a file each (`safeloop.experiments.suite_file`)."""
