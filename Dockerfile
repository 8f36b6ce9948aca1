# One image for the Prefect server, its worker and the Ray nodes: all of them need the same
# versions of Python, Ray and Prefect. torch from the package index runs on CPUs and on GPUs.
FROM python:3.11.15-slim-bookworm

# git: DVC works in a repository.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*

# A volume mounted over an empty folder takes its owner over.
RUN useradd --uid 1000 --create-home atcnn \
    && install --directory --owner=atcnn --group=atcnn /workspace

# The dependencies alone, so that a change of code does not install them again; of the locked
# versions only those that the project needs to run.
COPY pyproject.toml requirements.lock /tmp/locked/
RUN touch /tmp/locked/README.md \
    && pip install --no-cache-dir --constraint /tmp/locked/requirements.lock /tmp/locked \
    && rm -r /tmp/locked

WORKDIR /opt/atcnn
COPY . .

USER atcnn
ENV ATCNN_WORKSPACE=/workspace \
    PYTHONUNBUFFERED=1
