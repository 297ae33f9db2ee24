"""Server reflection: a listener describes its services to clients such as grpcurl.

Only what its own services are made of is described; `network.reflection` switches it off. Versions
v1 and v1alpha are the same messages under two names.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2 import (
    FileDescriptorResponse,
    ServerReflectionRequest,
    ServerReflectionResponse,
    ServiceResponse,
)

from amaters_server.model.errors import InvalidRequestError
from amaters_server.rpc.transport.calls import Service
from amaters_server.rpc.transport.servicers import at_once
from amaters_server.rpc.transport.status import NOT_FOUND

ALPHA = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
ANSWER = "/amaters.Reflection/Answer"
"""The method that answers the requests of a stream one by one."""
LONGEST_REQUEST_BYTES = 4096
"""An answer repeats its request twice, and waits in memory until its caller has read it."""


class Reflection:
    """Describes the services of one listener, itself included."""

    def __init__(self, services: Collection[ServiceDescriptor]) -> None:
        self._others = services

    def methods(self) -> Service:
        """Return what a listener offers."""
        method = ALPHA.methods_by_name["ServerReflectionInfo"]
        names = (ALPHA.full_name.replace("v1alpha", "v1"), ALPHA.full_name)
        return Service(
            {ANSWER: at_once(self.answer, method)},
            interactive={f"/{name}/{method.name}": ANSWER for name in names},
        )

    def answer(self, request: ServerReflectionRequest) -> ServerReflectionResponse:
        """Answer one request of a stream; InvalidRequestError for one that is too long."""
        if request.ByteSize() > LONGEST_REQUEST_BYTES:
            raise InvalidRequestError(
                f"a reflection request is over the limit of {LONGEST_REQUEST_BYTES} bytes: "
                "name one file or symbol"
            )
        response = ServerReflectionResponse(valid_host=request.host, original_request=request)
        match request.WhichOneof("message_request"):
            case "list_services":
                names = [ServiceResponse(name=one.full_name) for one in self._services]
                response.list_services_response.service.extend(names)
            case "file_by_filename" if file := self._files.get(request.file_by_filename):
                response.file_descriptor_response.CopyFrom(_described(file))
            case "file_containing_symbol" if file := self._symbols.get(
                request.file_containing_symbol
            ):
                response.file_descriptor_response.CopyFrom(_described(file))
            case "all_extension_numbers_of_type" if (
                kind := request.all_extension_numbers_of_type
            ) in self._symbols:
                # Nothing that is served has extensions.
                response.all_extension_numbers_response.base_type_name = kind
            case _:
                response.error_response.error_code = NOT_FOUND
                response.error_response.error_message = "this listener does not describe it"
        return response

    @cached_property
    def _services(self) -> Sequence[ServiceDescriptor]:
        return [*self._others, _of_v1(), ALPHA]

    @cached_property
    def _files(self) -> dict[str, FileDescriptor]:
        every = (file for one in self._services for file in _with_imports(one.file))
        return {file.name: file for file in every}

    @cached_property
    def _symbols(self) -> dict[str, FileDescriptor]:
        return {name: file for file in self._files.values() for name in _names(file)}


def _described(file: FileDescriptor) -> FileDescriptorResponse:
    files = {one.name: one.serialized_pb for one in _with_imports(file)}
    return FileDescriptorResponse(file_descriptor_proto=files.values())


def _with_imports(file: FileDescriptor) -> Iterator[FileDescriptor]:
    for imported in file.dependencies:
        yield from _with_imports(imported)
    yield file


def _names(file: FileDescriptor) -> Iterator[str]:
    for service in file.services_by_name.values():
        yield service.full_name
        yield from (method.full_name for method in service.methods)
    yield from (enum.full_name for enum in file.enum_types_by_name.values())
    for message in file.message_types_by_name.values():
        yield from _names_within(message)


def _names_within(message: Descriptor) -> Iterator[str]:
    yield message.full_name
    yield from (enum.full_name for enum in message.enum_types)
    for nested in message.nested_types:
        yield from _names_within(nested)


def _of_v1() -> ServiceDescriptor:
    """Return the service of v1: no package brings its descriptor."""
    file = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    text = text_format.MessageToString(file).replace("v1alpha", "v1")
    pool = DescriptorPool()
    pool.Add(text_format.Parse(text, FileDescriptorProto()))
    return pool.FindServiceByName("grpc.reflection.v1.ServerReflection")
