"""How a training's snapshots come to MLflow, off the training path where MLflow is not on this machine.

A snapshot is its feature maps, the index that names them, a checkpoint, the run's tag that points to the checkpoint,
and metrics. They reach MLflow in this order, so that whatever moment anything dies at,

- the index names only files that are there,
- the tag points to a whole checkpoint, and every snapshot up to that one is there: a checkpoint goes into the slot
  that the tag does not point to, and the tag is set once it is there,
- metrics are all that a snapshot at or before the tag may lack, and the checkpoint has them: ``--resume`` logs what
  is missing.

**Local** (sqlite or files, with an artifact folder of this machine): written at once. Each file takes the place of
the one before it only when it is whole and on the disk, so a full disk, a kill or a machine that stops leaves what was
there readable.

**Remote**: a snapshot is written to a folder on disk, which gets its name once all of it is there (``spool``), and
training goes on. One thread (``uploader``) takes whatever waits, any number of snapshots at once: the maps of all of
them on a few connections, then the last index, then the last checkpoint and its tag, then the metrics of all. It
removes a snapshot's folder when all that is done. So at any moment a snapshot is on the server, or whole on disk, or
both. Each step can be done again: files are overwritten by the same bytes, metrics keep the time at which they were
measured, which makes MLflow's databases take them once. Of snapshots that wait, only the last needs its checkpoint;
the others' are dropped. A tag that becomes known between two snapshots, such as what was frozen, waits in the folder
too, and is set before the next snapshot is uploaded.

Failures that may pass are tried again for as long as training lasts, more often while somebody waits. Where the
folder's limit is reached, training waits. Where nothing at all has succeeded for ``patience`` seconds while somebody
waits, the command ends with an :class:`~fmce_mlflow.errors.UploadError`; the folder stays. ``--resume`` and ``fmce
sync`` begin with what the folder holds, except for what the run has from elsewhere: training is deterministic, so a run
that has gone on on another machine has it all.
"""
