"""gRPC as strangers see it: health and reflection, without a line of generated code of ours."""

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from harness.local import Local

SERVICES = {"meridian.admin.v1.AdminService", "meridian.node.v1.NodeService"}
# Both speak the same messages; only the name of the service differs.
REFLECTION = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]


@pytest.fixture
def channel(local: Local):
    with grpc.insecure_channel(local.operator.admin) as channel:
        yield channel


def reflect(channel: grpc.Channel, service: str, **request: object) -> reflection_pb2.ServerReflectionResponse:
    call = channel.stream_stream(
        f"/{service}/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    return next(call(iter([reflection_pb2.ServerReflectionRequest(**request)]), timeout=5))


@pytest.mark.parametrize("version", REFLECTION)
def test_reflection_lists_and_describes_our_services(channel: grpc.Channel, version: str) -> None:
    listed = reflect(channel, version, list_services="")
    names = {service.name for service in listed.list_services_response.service}
    assert names >= SERVICES, names
    answer = reflect(channel, version, file_containing_symbol="meridian.admin.v1.AdminService")
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(file)
        for file in answer.file_descriptor_response.file_descriptor_proto
    ]
    methods = {method.name for file in files for service in file.service for method in service.method}
    assert {"Apply", "GetFleet", "SetOverride"} <= methods


@pytest.mark.parametrize("service", ["", *sorted(SERVICES)])
def test_health_says_serving(channel: grpc.Channel, service: str) -> None:
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_an_unknown_service_is_not_found(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=5)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
