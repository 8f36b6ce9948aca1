#!/bin/sh
# Registers the work pool and the deployments with the Prefect server of PREFECT_API_URL.
# Run it in the project's folder; running it again updates them.
set -eu
: "${ATCNN_WORKSPACE:?names the folder in which the worker runs the flow}"
prefect --no-prompt work-pool create workspace --type process --overwrite
# One workspace holds one run at a time.
prefect --no-prompt work-pool set-concurrency-limit workspace 1
prefect --no-prompt deploy --all
