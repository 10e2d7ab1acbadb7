"""Act with an agent that `safeloop export` wrote. This needs torch, and neither safeloop nor a simulator.

    python exported_agent.py agent.pt2

It repeats the decisions that the file holds, with the same random numbers, and prints the largest difference between
the actions and the time of a decision.
"""

import json
import statistics
import sys
import time

import torch


class Agent:
    """An exported agent in one episode at a time."""

    def __init__(self, file: str):
        described = {"agent.json": ""}
        self.act_on = torch.export.load(file, extra_files=described).module()
        self.about = json.loads(described["agent.json"])
        self.generator = torch.Generator()
        self.reset()

    def reset(self) -> None:
        """Start an episode."""
        self.first = True
        self.memory = [torch.zeros(shape) for shape in self.about["memory"]]

    @torch.no_grad()
    def act(self, observation: list[float]) -> list[float]:
        """Return the action for an observation."""
        noise = torch.randn(self.about["noise"], generator=self.generator)
        obs = torch.tensor([observation], dtype=torch.float32)
        action, *self.memory = self.act_on(obs, torch.tensor(self.first), noise, *self.memory)
        self.first = False
        return action[0].tolist()


def main(file: str) -> None:
    """Repeat the recorded decisions."""
    torch.set_num_threads(1)
    agent = Agent(file)
    record, worst, seconds = agent.about["record"], 0.0, []
    rows = zip(record["observations"], record["first"], record["actions"], strict=True)
    for index, (observation, first, ours) in enumerate(rows):
        agent.generator.manual_seed(index)  # the numbers of the recorded decision
        if first:
            agent.reset()
        begun = time.perf_counter()
        action = agent.act(observation)
        seconds.append(time.perf_counter() - begun)
        worst = max(worst, *(abs(a - b) for a, b in zip(action, ours, strict=True)))
    print(f"{agent.about['env']}, {agent.about['algo']}: {len(seconds)} decisions")
    print(f"largest difference between actions: {worst:.1g}")
    print(f"median time of a decision: {1e3 * statistics.median(seconds):.2f} ms")


if __name__ == "__main__":
    main(*sys.argv[1:])
