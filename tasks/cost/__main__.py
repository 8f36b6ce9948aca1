"""`python -m tasks.cost PAPER` prints what a comparison of the section `paper` costs, as JSON.

{"device": "GPU" or "CPU", "jobs": stages at once, "threads": CPUs of one of them,
 "raw": bytes to download,
 "machine": {"jobs": stages at once on one machine, or on one GPU, "memory": bytes that it has},
 "stages": {name: {"after": [names], "seconds", "bytes", "shares": how many such stages it takes
 the place of, "memory": bytes of the processes at work for it, 0 where they take little}}}
"""

import json

from tasks import params
from tasks.cluster import pool
from tasks.console import command
from tasks.cost.model import estimate


def main(paper: str) -> None:
    settings = params.load().of_paper(paper)
    with pool.connect():
        print(json.dumps(estimate(settings)))


if __name__ == "__main__":
    command.run(main, "paper")
