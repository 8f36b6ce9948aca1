#!/bin/sh
# Registers the work pool and the deployments with the Prefect server of PREFECT_API_URL.
# Run it in the project's folder; running it again updates them.
set -eu
: "${ATCNN_WORKSPACE:?names the folder in which the worker runs the flow}"
prefect --no-prompt work-pool create workspace --type process --overwrite
# Set by versions that left the queue of runs to it.
prefect --no-prompt work-pool clear-concurrency-limit workspace
prefect --no-prompt deploy --all
