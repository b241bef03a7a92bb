"""Makes the lake's bucket in the S3 that the AWS variables name. It may exist already."""

import os
import time
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

SECONDS = 60.0

bucket = urlsplit(os.environ["TOLLHOUSE_LAKE_URL"]).netloc
s3 = boto3.client(
    "s3",
    endpoint_url=os.environ["TOLLHOUSE_S3_ENDPOINT_URL"],
    region_name=os.environ["TOLLHOUSE_S3_REGION"],
    config=Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=10),
)
deadline = time.monotonic() + SECONDS
while True:
    try:
        s3.create_bucket(Bucket=bucket)
        print(f"bucket {bucket}: made")
        break
    except ClientError as error:
        if error.response["Error"]["Code"] not in (
            "BucketAlreadyOwnedByYou",
            "BucketAlreadyExists",
        ):
            raise
        s3.head_bucket(Bucket=bucket)  # it is there, and these credentials reach it
        print(f"bucket {bucket}: is there")
        break
    except EndpointConnectionError:
        if time.monotonic() > deadline:
            raise
        time.sleep(1)
