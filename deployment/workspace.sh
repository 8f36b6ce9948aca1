#!/bin/sh
# Makes the folder ATCNN_WORKSPACE a workspace of the project's code in the current folder, then
# runs the given command in it.
#
# The code is replaced at each start, so that a new image brings new code; params.yaml, dvc.lock
# and everything that has been computed stay as they are.
set -eu
: "${DVC_REMOTE:?is the address of the store for results, such as s3://bucket/dvc}"
# A module that this version no longer has would still belong to the room that stages depend on.
[ "$ATCNN_WORKSPACE" -ef . ] || (cd "$ATCNN_WORKSPACE" && rm -rf atcore tasks flows)
tar -c --exclude=./params.yaml --exclude=./dvc.lock --exclude=./.git . | tar -x -C "$ATCNN_WORKSPACE"
[ -e "$ATCNN_WORKSPACE/params.yaml" ] || cp params.yaml "$ATCNN_WORKSPACE"
cd "$ATCNN_WORKSPACE"

# DVC works in a Git repository, its experiments start from a commit.
if [ ! -d .git ]; then
    git init --quiet --initial-branch=main
    git config user.name atcnn
    git config user.email atcnn@localhost
fi
git add --all
git diff --cached --quiet || git commit --quiet --message "Take over the files of the image"

dvc remote add --quiet --local --force --default store "$DVC_REMOTE"
exec "$@"
