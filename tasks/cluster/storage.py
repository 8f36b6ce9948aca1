"""The storage that all nodes share. No torch: each node is asked whether it does."""

from dataclasses import dataclass

import pyarrow
import ray
from pyarrow.fs import FileSystem, FileType

from atcore.base.errors import UserError
from tasks.cluster import pool


@dataclass(frozen=True)
class SharedRun:
    """The folder of one run in the storage that all nodes share.

    Attributes:
        storage: an absolute path, or a URI such as s3://bucket/prefix.
        name: of the folder.
    """

    storage: str
    name: str

    def _folder(self) -> tuple[FileSystem, str]:
        filesystem, path = FileSystem.from_uri(self.storage)
        return filesystem, f"{path}/{self.name}"

    def create(self) -> None:
        """Create the folder unless it is there.

        Raises:
            UserError: the storage cannot be written, or a node does not share it.
        """
        try:
            filesystem, path = self._folder()
            filesystem.create_dir(path, recursive=True)
        except (OSError, pyarrow.ArrowException) as error:
            raise UserError(f"ray.storage: cannot write to {self.storage} ({error})") from error
        look = ray.remote(num_cpus=0)(SharedRun._exists)
        for node in pool.nodes():
            on_it = pool.only_on(node["NodeID"])
            if not ray.get(look.options(scheduling_strategy=on_it).remote(self)):
                raise UserError(
                    f"ray.storage: {self.storage} is not shared: "
                    f"{node['NodeManagerAddress']} does not see what is written there"
                )

    def _exists(self) -> bool:
        filesystem, path = self._folder()
        return filesystem.get_file_info(path).type != FileType.NotFound

    def remove(self) -> None:
        """Remove the folder, once the results are safe elsewhere."""
        filesystem, path = self._folder()
        filesystem.delete_dir(path)
