"""The RC car, which follows a circle or a line at a desired speed, within a limit (CoRL 2021, section 6.3 and C.4)."""
