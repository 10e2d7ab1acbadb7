"""Agents, built from learners, models and planners; policies for evaluation."""
