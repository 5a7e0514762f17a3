"""Generated Protobuf classes, without the compiler: from the text of a .proto file."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool, message_factory, timestamp_pb2

from evkafka.serde.formats.proto_source import parse_proto_file

ORDERS = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";

message Order {
  message Line {
    string sku = 1;
    int32 count = 2;
  }
  enum State {
    NEW = 0;
    PAID = 1;
  }
  string order_id = 1;
  int64 cents = 2;
  State state = 3;
  repeated Line lines = 4;
  map<string, int32> tags = 5;
  optional string note = 6;
  google.protobuf.Timestamp at = 7;
  oneof by {
    string card = 8;
    string bank = 9;
  }
}

message Cancelled {
  string order_id = 1;
}
"""


def classes(text: str, *names: str, file: str = "orders.proto") -> list[Any]:
    """The classes of these messages, each call in a pool of its own."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(parse_proto_file(text, file))
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names]


OrderMessage, LineMessage, CancelledMessage = classes(ORDERS, "shop.Order", "shop.Order.Line", "shop.Cancelled")
