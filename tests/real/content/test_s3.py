"""S3 as boto3 and obstore speak it."""

from __future__ import annotations

import io
import os
import urllib.error
import urllib.request
from typing import Any

import obstore
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

pytestmark = pytest.mark.real

MIB = 1024 * 1024


def code_of(call: Any, **arguments: Any) -> tuple[str, int]:
    """What an operation is refused with."""
    with pytest.raises(ClientError) as error:
        call(**arguments)
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def keys_of(s3: Any, bucket: str, **wish: Any) -> list[str]:
    """Keys and common prefixes, page by page, in the order they come."""
    found: list[str] = []
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, **wish)
    for page in pages:
        told = [item["Key"] for item in page.get("Contents", [])]
        told += [item["Prefix"] for item in page.get("CommonPrefixes", [])]
        assert page["KeyCount"] == len(told)
        found += sorted(told)
    return found


def test_buckets_are_top_folders(s3: Any, bucket: str, fresh: str) -> None:
    assert bucket in [item["Name"] for item in s3.list_buckets()["Buckets"]]
    s3.head_bucket(Bucket=bucket)
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    assert code_of(s3.create_bucket, Bucket=bucket) == ("BucketAlreadyOwnedByYou", 409)
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"")
    assert code_of(s3.delete_bucket, Bucket=bucket) == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket=bucket, Key="a/b")
    s3.delete_bucket(Bucket=bucket)
    assert code_of(s3.head_bucket, Bucket=bucket) == ("404", 404)
    assert code_of(s3.put_object, Bucket=bucket, Key="x", Body=b"") == ("NoSuchBucket", 404)
    assert code_of(s3.get_bucket_acl, Bucket=bucket) == ("NotImplemented", 501)


def test_an_object_keeps_what_is_told_of_it(s3: Any, bucket: str) -> None:
    key = "a b/ü+&%;.txt"
    put = s3.put_object(
        Bucket=bucket, Key=key, Body=b"hello", Metadata={"who": "me"}, ContentType="text/x-mine"
    )
    head = s3.head_object(Bucket=bucket, Key=key)
    assert (head["ETag"], head["ContentLength"]) == (put["ETag"], 5)
    assert (head["Metadata"], head["ContentType"]) == ({"who": "me"}, "text/x-mine")
    part = s3.get_object(Bucket=bucket, Key=key, Range="bytes=1-3")
    assert (part["Body"].read(), part["ContentRange"]) == (b"ell", "bytes 1-3/5")
    part["Body"].close()
    copied = {"Bucket": bucket, "Key": key}
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=copied)
    assert s3.head_object(Bucket=bucket, Key="copy")["Metadata"] == {"who": "me"}
    s3.copy_object(
        Bucket=bucket, Key=key, CopySource=copied, MetadataDirective="REPLACE", Metadata={"n": "1"}
    )
    assert s3.head_object(Bucket=bucket, Key=key)["Metadata"] == {"n": "1"}
    s3.put_object(Bucket=bucket, Key="copy", Body=b"bare")
    assert s3.head_object(Bucket=bucket, Key="copy")["Metadata"] == {}
    assert code_of(s3.get_object, Bucket=bucket, Key="a b") == ("NoSuchKey", 404)
    assert code_of(s3.get_object, Bucket=bucket, Key=key, Range="bytes=9-") == ("InvalidRange", 416)


def test_keys_come_in_the_order_of_their_bytes(s3: Any, bucket: str) -> None:
    keys = ["a", "a-b/c", "a.txt", "b/x/1", "b/x/2", "b/y", "b-/z", "marker/", "é", "b!"]
    for key in keys:
        if key != "a":  # a file and a folder of one name cannot be
            s3.put_object(Bucket=bucket, Key=key, Body=b"")
    in_order = sorted(set(keys) - {"a"}, key=lambda key: key.encode())
    for size in (1, 2, 1000):
        pages = {"PaginationConfig": {"PageSize": size}}
        assert keys_of(s3, bucket, **pages) == in_order
        top = ["a-b/", "a.txt", "b!", "b-/", "b/", "marker/", "é"]
        assert keys_of(s3, bucket, Delimiter="/", **pages) == top
        assert keys_of(s3, bucket, Delimiter="/", Prefix="b/", **pages) == ["b/x/", "b/y"]
        assert keys_of(s3, bucket, Prefix="b", **pages) == [k for k in in_order if k[0] == "b"]
        assert keys_of(s3, bucket, Delimiter="x", **pages)[-3:] == ["b/y", "marker/", "é"]
    first = s3.list_objects(Bucket=bucket, MaxKeys=2)
    second = s3.list_objects(Bucket=bucket, Marker=first["Contents"][-1]["Key"])
    found = [item["Key"] for page in (first, second) for item in page["Contents"]]
    assert found == in_order
    behind = s3.list_objects_v2(Bucket=bucket, StartAfter="b/x/1")["Contents"]
    assert [item["Key"] for item in behind] == in_order[in_order.index("b/x/2") :]


def test_folders_that_keys_brought_go_with_the_last_key(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="kept/", Body=b"")
    for key in ("kept/a", "brought/along/b"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
        s3.delete_object(Bucket=bucket, Key=key)
    assert keys_of(s3, bucket) == ["kept/"]
    assert keys_of(s3, bucket, Delimiter="/") == ["kept/"]
    assert s3.head_object(Bucket=bucket, Key="kept/")["ContentLength"] == 0
    s3.delete_object(Bucket=bucket, Key="kept/")
    assert keys_of(s3, bucket) == []


def test_C07_conditions_hold_or_nothing_is_written(s3: Any, bucket: str) -> None:
    first = s3.put_object(Bucket=bucket, Key="f", Body=b"1", IfNoneMatch="*")["ETag"]
    failed = ("PreconditionFailed", 412)
    assert code_of(s3.put_object, Bucket=bucket, Key="f", Body=b"2", IfNoneMatch="*") == failed
    s3.put_object(Bucket=bucket, Key="f", Body=b"2", IfMatch=first)
    assert code_of(s3.put_object, Bucket=bucket, Key="f", Body=b"3", IfMatch=first) == failed
    assert code_of(s3.delete_object, Bucket=bucket, Key="f", IfMatch=first) == failed
    assert code_of(s3.get_object, Bucket=bucket, Key="f", IfMatch=first) == failed
    read = s3.get_object(Bucket=bucket, Key="f")
    assert read["Body"].read() == b"2"
    read["Body"].close()
    assert code_of(s3.get_object, Bucket=bucket, Key="f", IfNoneMatch=read["ETag"])[1] == 304


def test_versions_are_listed_and_read(s3: Any, bucket: str) -> None:
    for text in (b"one", b"two", b"three"):
        s3.put_object(Bucket=bucket, Key="d/f", Body=text)
    s3.put_object(Bucket=bucket, Key="d/g", Body=b"g")
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=bucket, Prefix="d/", PaginationConfig={"PageSize": 2}
    )
    found = [(v["Key"], v["VersionId"], v["IsLatest"]) for p in pages for v in p["Versions"]]
    assert found == [
        ("d/f", "3", True), ("d/f", "2", False), ("d/f", "1", False), ("d/g", "1", True)
    ]  # fmt: skip
    read = s3.get_object(Bucket=bucket, Key="d/f", VersionId="1")["Body"]
    assert read.read() == b"one"
    read.close()
    absent = code_of(s3.get_object, Bucket=bucket, Key="d/f", VersionId="9")
    assert absent == ("NoSuchVersion", 404)
    source = {"Bucket": bucket, "Key": "d/f", "VersionId": "1"}
    s3.copy_object(Bucket=bucket, Key="d/f", CopySource=source)
    again = s3.get_object(Bucket=bucket, Key="d/f")
    assert (again["Body"].read(), again["VersionId"]) == (b"one", "4")
    again["Body"].close()


def test_many_are_deleted_each_by_itself(s3: Any, bucket: str) -> None:
    for key in ("a", "d/b"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    named = [{"Key": key} for key in ("a", "d/b", "never", "a//b")]
    found = s3.delete_objects(Bucket=bucket, Delete={"Objects": named})
    assert [item["Key"] for item in found["Deleted"]] == ["a", "d/b", "never"]
    assert [(item["Key"], item["Code"]) for item in found["Errors"]] == [("a//b", "InvalidURI")]
    assert keys_of(s3, bucket) == []


def test_twelve_megabytes_come_in_parts(s3: Any, bucket: str) -> None:
    data = os.urandom(12 * MIB + 5)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    extra = {"Metadata": {"m": "1"}}
    s3.upload_fileobj(io.BytesIO(data), bucket, "d/big", Config=config, ExtraArgs=extra)
    back = io.BytesIO()
    s3.download_fileobj(bucket, "d/big", back, Config=config)
    assert back.getvalue() == data
    assert s3.head_object(Bucket=bucket, Key="d/big")["Metadata"] == {"m": "1"}
    upload = s3.create_multipart_upload(Bucket=bucket, Key="d/two")["UploadId"]
    this = {"Bucket": bucket, "Key": "d/two", "UploadId": upload}
    second = s3.upload_part(**this, PartNumber=7, Body=b"tail")["ETag"]
    first = s3.upload_part_copy(
        **this,
        PartNumber=2,
        CopySource={"Bucket": bucket, "Key": "d/big"},
        CopySourceRange="bytes=10-19",
    )["CopyPartResult"]["ETag"]
    parts = [{"PartNumber": 2, "ETag": first}, {"PartNumber": 7, "ETag": second}]
    listed = s3.list_parts(**this)["Parts"]
    assert [{"PartNumber": p["PartNumber"], "ETag": p["ETag"]} for p in listed] == parts
    waiting = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [(item["Key"], item["UploadId"]) for item in waiting] == [("d/two", upload)]
    wrong = {"Parts": [{"PartNumber": 2, "ETag": second}]}
    complete = s3.complete_multipart_upload
    assert code_of(complete, **this, MultipartUpload=wrong) == ("InvalidPart", 400)
    turned = {"Parts": parts[::-1]}
    assert code_of(complete, **this, MultipartUpload=turned) == ("InvalidPartOrder", 400)
    complete(**this, MultipartUpload={"Parts": parts})
    read = s3.get_object(Bucket=bucket, Key="d/two")["Body"]
    assert read.read() == data[10:20] + b"tail"
    read.close()
    assert code_of(complete, **this, MultipartUpload={"Parts": parts}) == ("NoSuchUpload", 404)


def test_another_persons_upload_is_no_upload(served: Any, s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="f")["UploadId"]
    this = {"Bucket": bucket, "Key": "f", "UploadId": upload}
    bob = served.boto("bob")
    try:
        assert code_of(bob.upload_part, **this, PartNumber=1, Body=b"x") == ("NoSuchUpload", 404)
        assert code_of(bob.abort_multipart_upload, **this) == ("NoSuchUpload", 404)
    finally:
        bob.close()
    s3.abort_multipart_upload(**this)
    assert code_of(s3.abort_multipart_upload, **this) == ("NoSuchUpload", 404)


def fetch(url: str, **options: Any) -> tuple[int, bytes]:
    """Status and body, as a client without a key gets them."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **options), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_presigned_addresses_open_one_thing(s3: Any, bucket: str) -> None:
    this = {"Bucket": bucket, "Key": "d/ü f"}
    put = s3.generate_presigned_url("put_object", Params=this, ExpiresIn=60)
    assert fetch(put, data=b"hello", method="PUT")[0] == 200
    get = s3.generate_presigned_url("get_object", Params=this, ExpiresIn=60)
    assert fetch(get) == (200, b"hello")


def test_obstore_stores_and_finds(obstore_of: Any, bucket: str) -> None:
    store = obstore_of(bucket)
    first = obstore.put(store, "a/b c é.txt", b"hello")
    assert bytes(obstore.get(store, "a/b c é.txt").bytes()) == b"hello"
    data = os.urandom(6 * MIB)
    obstore.put(store, "big", data, use_multipart=True, chunk_size=5 * MIB)
    assert (
        bytes(obstore.get_range(store, "big", start=5 * MIB - 2, length=4))
        == (data[5 * MIB - 2 : 5 * MIB + 2])
    )
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        obstore.put(store, "a/b c é.txt", b"x", mode="create")
    obstore.put(store, "a/b c é.txt", b"y", mode={"e_tag": first["e_tag"]})
    with pytest.raises(obstore.exceptions.PreconditionError):
        obstore.put(store, "a/b c é.txt", b"z", mode={"e_tag": first["e_tag"]})
    found = obstore.list_with_delimiter(store)
    assert list(found["common_prefixes"]) == ["a"]
    obstore.copy(store, "big", "a/copy")
    obstore.rename(store, "a/copy", "x/renamed")
    assert [item["path"] for item in obstore.list(store).collect()] == [
        "a/b c é.txt", "big", "x/renamed"
    ]  # fmt: skip
    obstore.delete(store, ["a/b c é.txt", "big", "x/renamed"])
    assert obstore.list(store).collect() == []
    with pytest.raises(FileNotFoundError):
        obstore.get(store, "big")
