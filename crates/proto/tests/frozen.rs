//! What an earlier build put on the wire or into the store keeps its number, its type and its meaning for ever.
//!
//! `data/frozen-1.fds` holds the descriptors of the first version. Fields may be added; one that is gone stays reserved.

use prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

const FROZEN: &[u8] = include_bytes!("data/frozen-1.fds");

/// What of a field the other end relies on.
fn meaning(field: &FieldDescriptor) -> (String, String, Cardinality, Option<String>) {
    let kind = match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(names) => names.full_name().to_owned(),
        kind => format!("{kind:?}"),
    };
    let choice = field.containing_oneof().map(|oneof| oneof.name().to_owned());
    (field.name().to_owned(), kind, field.cardinality(), choice)
}

fn compare(was: &MessageDescriptor, is: &DescriptorPool, wrong: &mut Vec<String>) {
    let Some(now) = is.get_message_by_name(was.full_name()) else {
        return wrong.push(format!("{} is gone", was.full_name()));
    };
    for field in was.fields() {
        let name = format!("{}.{} = {}", was.full_name(), field.name(), field.number());
        let is_reserved = now.reserved_ranges().any(|numbers| numbers.contains(&field.number()));
        match now.get_field(field.number()) {
            Some(found) if meaning(&found) == meaning(&field) => {}
            Some(found) => wrong.push(format!("{name} is now {found:?}")),
            None if is_reserved => {}
            None => wrong.push(format!("{name} is gone and not reserved")),
        }
    }
}

#[test]
fn what_was_on_the_wire_or_in_the_store_keeps_its_meaning() {
    let was = DescriptorPool::decode(FROZEN).unwrap();
    let is = DescriptorPool::decode(meridian_proto::DESCRIPTORS).unwrap();
    let mut wrong = Vec::new();
    let ours = |name: &str| name.starts_with("meridian.");
    let messages: Vec<_> = was.all_messages().filter(|message| ours(message.full_name())).collect();
    assert!(messages.len() > 50, "only {} messages were found", messages.len());
    for message in &messages {
        compare(message, &is, &mut wrong);
    }
    for names in was.all_enums().filter(|names| ours(names.full_name())) {
        let now = is.get_enum_by_name(names.full_name());
        for value in names.values() {
            let same =
                now.as_ref().and_then(|now| now.get_value(value.number())).is_some_and(|v| v.name() == value.name());
            if !same {
                wrong.push(format!("{} = {} means something else", value.full_name(), value.number()));
            }
        }
    }
    for method in was
        .services()
        .filter(|service| ours(service.full_name()))
        .flat_map(|service| service.methods().collect::<Vec<_>>())
    {
        let shape = |method: &prost_reflect::MethodDescriptor| {
            let streams = (method.is_client_streaming(), method.is_server_streaming());
            (method.input().full_name().to_owned(), method.output().full_name().to_owned(), streams)
        };
        let now = is.get_service_by_name(method.parent_service().full_name());
        let found = now.and_then(|service| service.methods().find(|found| found.name() == method.name()));
        if found.as_ref().map(shape) != Some(shape(&method)) {
            wrong.push(format!("{} is called otherwise", method.full_name()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
