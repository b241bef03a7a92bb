"""The lake writer: both logs as Parquet files, and the DuckDB snapshot over them.

A file goes this way: lines gather in the spool; DuckDB makes a Parquet file of them there;
one transaction names it in the manifest and moves the checkpoint; then it is put in place,
and a second transaction says so. What is named and not in place is put again, or made again
from its log if the spool is lost: under the same name, with the same rows. So each row is in
the lake once, whatever is killed.

    place.py       where files are kept: a folder, or an S3 bucket
    engine.py      DuckDB, loaded when there is work and closed when there is none
    manifest.py    the table lake_files
    batch.py       lines -> Parquet in the spool
    placing.py     spool -> place, with patience
    mending.py     what the place lost, and again.py, which makes it out of the log
    scratch.py     a folder of each process, for what needs to outlive nothing
    compaction.py  many small files -> one
    snapshot.py    analytics.duckdb
    writer.py      the jobs lake_usage and lake_events
"""

from infra.lake.place import Place as Place
from infra.lake.place import PlaceUnavailable as PlaceUnavailable
from infra.lake.place import lake_place as lake_place
from infra.lake.writer import Lake as Lake
from infra.lake.writer import LakeJob as LakeJob
