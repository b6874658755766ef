//! Values, performatives and messages: what is encoded decodes to the same, what is cut off is incomplete, and no
//! octets whatever cause a panic.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;

use std::fmt::Debug;

use amqp::message::{self, Body, Header, Message, Properties};
use amqp::performative::{
    Attach, Begin, Close, DeliveryTag, Detach, Disposition, End, Flow, Open, Performative,
    RcvSettleMode, SndSettleMode, Source, Target, Transfer,
};
use amqp::sasl::{OutcomeCode, SaslFrame};
use amqp::{
    Bytes, BytesMut, Condition, DecodeError, DeliveryState, Described, Role, Symbol, Value,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

fn symbol() -> impl Strategy<Value = Symbol> {
    "[ -~]{0,12}".prop_map(|text| Symbol::from(text.as_str()))
}

fn octets(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=max).prop_map(Bytes::from)
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u8>().prop_map(Value::Ubyte),
        any::<u16>().prop_map(Value::Ushort),
        prop_oneof![any::<u32>(), 0..300u32].prop_map(Value::Uint),
        prop_oneof![any::<u64>(), 0..300u64].prop_map(Value::Ulong),
        any::<i8>().prop_map(Value::Byte),
        any::<i16>().prop_map(Value::Short),
        prop_oneof![any::<i32>(), -200..200i32].prop_map(Value::Int),
        prop_oneof![any::<i64>(), -200..200i64].prop_map(Value::Long),
        // Not a number is equal to nothing.
        proptest::num::f32::NORMAL.prop_map(Value::Float),
        proptest::num::f64::NORMAL.prop_map(Value::Double),
        any::<[u8; 4]>().prop_map(Value::Decimal32),
        any::<[u8; 8]>().prop_map(Value::Decimal64),
        any::<[u8; 16]>().prop_map(Value::Decimal128),
        any::<char>().prop_map(Value::Char),
        any::<i64>().prop_map(Value::Timestamp),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        octets(300).prop_map(Value::Binary),
        ".{0,80}".prop_map(Value::String),
        symbol().prop_map(Value::Symbol),
    ]
}

/// Arrays hold elements of one type; these are of all kinds of width, nested and described.
fn array() -> impl Strategy<Value = Value> {
    let elements = prop_oneof![
        vec(Just(Value::Null), 0..5),
        vec(any::<bool>().prop_map(Value::Bool), 0..5),
        vec(any::<u32>().prop_map(Value::Uint), 0..5),
        vec(any::<i64>().prop_map(Value::Long), 0..5),
        vec(symbol().prop_map(Value::Symbol), 0..5),
        vec(octets(300).prop_map(Value::Binary), 0..5),
        vec(vec(scalar(), 0..3).prop_map(Value::List), 0..4),
        vec(vec((scalar(), scalar()), 0..3).prop_map(Value::Map), 0..4),
        vec(
            vec(any::<u8>().prop_map(Value::Ubyte), 1..3).prop_map(Value::Array),
            0..3
        ),
        (symbol(), vec(any::<u16>(), 1..4)).prop_map(|(descriptor, values)| {
            let describe =
                |value: u16| described(Value::Symbol(descriptor.clone()), Value::Ushort(value));
            values.into_iter().map(describe).collect()
        }),
    ];
    elements.prop_map(Value::Array)
}

fn described(descriptor: Value, value: Value) -> Value {
    Value::Described(Box::new(Described { descriptor, value }))
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![4 => scalar(), 1 => array()].prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::List),
            vec((inner.clone(), inner.clone()), 0..4).prop_map(Value::Map),
            (scalar(), inner).prop_map(|(descriptor, value)| described(descriptor, value)),
        ]
    })
}

fn map() -> impl Strategy<Value = Vec<(Value, Value)>> {
    vec((symbol().prop_map(Value::Symbol), value()), 0..4)
}

fn symbols() -> impl Strategy<Value = Vec<Symbol>> {
    vec(symbol(), 0..4)
}

fn condition() -> impl Strategy<Value = Condition> {
    (symbol(), of(".{0,40}"), map()).prop_map(|(condition, description, info)| Condition {
        condition,
        description,
        info,
    })
}

fn state() -> impl Strategy<Value = DeliveryState> {
    prop_oneof![
        (any::<u32>(), any::<u64>()).prop_map(|(section_number, section_offset)| {
            DeliveryState::Received {
                section_number,
                section_offset,
            }
        }),
        Just(DeliveryState::Accepted),
        of(condition()).prop_map(DeliveryState::Rejected),
        Just(DeliveryState::Released),
        (any::<bool>(), any::<bool>(), map()).prop_map(
            |(delivery_failed, undeliverable_here, annotations)| {
                DeliveryState::Modified {
                    delivery_failed,
                    undeliverable_here,
                    annotations,
                }
            }
        ),
        value().prop_map(|value| DeliveryState::Other(described(
            Value::Ulong(0x34),
            Value::List(vec![value])
        ))),
    ]
}

prop_compose! {
    fn source()(
        address in of(".{0,30}"), durable in 0..3u32, expiry_policy in of(symbol()), timeout in any::<u32>(),
        dynamic in any::<bool>(), dynamic_node_properties in value(), distribution_mode in of(symbol()),
        filter in value(), default_outcome in value(), outcomes in symbols(), capabilities in symbols(),
    ) -> Source {
        Source {
            address, durable, expiry_policy, timeout, dynamic, dynamic_node_properties, distribution_mode, filter,
            default_outcome, outcomes, capabilities,
        }
    }
}

prop_compose! {
    fn plain_target()(
        address in of(".{0,30}"), durable in 0..3u32, expiry_policy in of(symbol()), timeout in any::<u32>(),
        dynamic in any::<bool>(), dynamic_node_properties in value(), capabilities in symbols(),
    ) -> Target {
        Target {
            address, durable, expiry_policy, timeout, dynamic, dynamic_node_properties, capabilities,
            coordinator: false,
        }
    }
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        plain_target(),
        symbols().prop_map(|capabilities| Target {
            capabilities,
            coordinator: true,
            ..Target::default()
        }),
    ]
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Sender), Just(Role::Receiver)]
}

fn rcv_settle_mode() -> impl Strategy<Value = RcvSettleMode> {
    prop_oneof![Just(RcvSettleMode::First), Just(RcvSettleMode::Second)]
}

fn snd_settle_mode() -> impl Strategy<Value = SndSettleMode> {
    prop_oneof![
        Just(SndSettleMode::Unsettled),
        Just(SndSettleMode::Settled),
        Just(SndSettleMode::Mixed)
    ]
}

fn tag() -> impl Strategy<Value = DeliveryTag> {
    vec(any::<u8>(), 0..=DeliveryTag::MAX).prop_map(|octets| DeliveryTag::new(&octets).unwrap())
}

prop_compose! {
    fn open()(
        container_id in ".{0,30}", hostname in of(".{0,30}"), max_frame_size in any::<u32>(),
        channel_max in any::<u16>(), idle_time_out in of(any::<u32>()),
        (outgoing_locales, incoming_locales) in (symbols(), symbols()),
        (offered_capabilities, desired_capabilities) in (symbols(), symbols()), properties in map(),
    ) -> Open {
        Open {
            container_id, hostname, max_frame_size, channel_max, idle_time_out, outgoing_locales, incoming_locales,
            offered_capabilities, desired_capabilities, properties,
        }
    }
}

prop_compose! {
    fn begin()(
        remote_channel in of(any::<u16>()), next_outgoing_id in any::<u32>(), incoming_window in any::<u32>(),
        outgoing_window in any::<u32>(), handle_max in any::<u32>(),
        (offered_capabilities, desired_capabilities) in (symbols(), symbols()), properties in map(),
    ) -> Begin {
        Begin {
            remote_channel, next_outgoing_id, incoming_window, outgoing_window, handle_max, offered_capabilities,
            desired_capabilities, properties,
        }
    }
}

prop_compose! {
    fn attach()(
        name in ".{0,30}", handle in any::<u32>(), role in role(),
        modes in (snd_settle_mode(), rcv_settle_mode()), source in of(source()), target in of(target()),
        unsettled in value(), incomplete_unsettled in any::<bool>(),
        (initial_delivery_count, max_message_size) in (of(any::<u32>()), of(any::<u64>())),
        (offered_capabilities, desired_capabilities) in (symbols(), symbols()), properties in map(),
    ) -> Attach {
        Attach {
            name, handle, role, snd_settle_mode: modes.0, rcv_settle_mode: modes.1, source, target, unsettled,
            incomplete_unsettled, initial_delivery_count, max_message_size, offered_capabilities,
            desired_capabilities, properties,
        }
    }
}

prop_compose! {
    fn flow()(
        next_incoming_id in of(any::<u32>()), incoming_window in any::<u32>(), next_outgoing_id in any::<u32>(),
        outgoing_window in any::<u32>(), handle in of(any::<u32>()), delivery_count in of(any::<u32>()),
        link_credit in of(any::<u32>()), available in of(any::<u32>()), drain in any::<bool>(),
        echo in any::<bool>(), properties in map(),
    ) -> Flow {
        Flow {
            next_incoming_id, incoming_window, next_outgoing_id, outgoing_window, handle, delivery_count,
            link_credit, available, drain, echo, properties,
        }
    }
}

prop_compose! {
    fn transfer()(
        handle in any::<u32>(), delivery_id in of(any::<u32>()), delivery_tag in of(tag()),
        message_format in of(any::<u32>()), settled in of(any::<bool>()), more in any::<bool>(),
        rcv_settle_mode in of(rcv_settle_mode()), state in of(state()), resume in any::<bool>(),
        aborted in any::<bool>(), batchable in any::<bool>(),
    ) -> Transfer {
        Transfer {
            handle, delivery_id, delivery_tag, message_format, settled, more, rcv_settle_mode, state, resume, aborted,
            batchable,
        }
    }
}

prop_compose! {
    fn disposition()(
        role in role(), first in any::<u32>(), last in of(any::<u32>()), settled in any::<bool>(),
        state in of(state()), batchable in any::<bool>(),
    ) -> Disposition {
        Disposition { role, first, last, settled, state, batchable }
    }
}

fn performative() -> impl Strategy<Value = Performative> {
    prop_oneof![
        open().prop_map(|open| Performative::Open(Box::new(open))),
        begin().prop_map(|begin| Performative::Begin(Box::new(begin))),
        attach().prop_map(|attach| Performative::Attach(Box::new(attach))),
        flow().prop_map(|flow| Performative::Flow(Box::new(flow))),
        transfer().prop_map(Performative::Transfer),
        disposition().prop_map(Performative::Disposition),
        (any::<u32>(), any::<bool>(), of(condition())).prop_map(|(handle, closed, error)| {
            Performative::Detach(Detach {
                handle,
                closed,
                error,
            })
        }),
        of(condition()).prop_map(|error| Performative::End(End { error })),
        of(condition()).prop_map(|error| Performative::Close(Close { error })),
    ]
}

fn sasl_frame() -> impl Strategy<Value = SaslFrame> {
    prop_oneof![
        symbols().prop_map(SaslFrame::Mechanisms),
        (symbol(), of(octets(300)), of(".{0,20}")).prop_map(
            |(mechanism, initial_response, hostname)| {
                SaslFrame::Init {
                    mechanism,
                    initial_response,
                    hostname,
                }
            }
        ),
        octets(300).prop_map(SaslFrame::Challenge),
        octets(300).prop_map(SaslFrame::Response),
        of(octets(20)).prop_map(|additional_data| SaslFrame::Outcome {
            code: OutcomeCode::SysTemp,
            additional_data
        }),
    ]
}

prop_compose! {
    fn properties()(
        message_id in scalar(), user_id in of(octets(20)), to in of(".{0,20}"), subject in of(".{0,20}"),
        reply_to in of(".{0,20}"), correlation_id in scalar(), content in (of(".{0,20}"), of(".{0,20}")),
        times in (of(any::<i64>()), of(any::<i64>())), group_id in of(".{0,20}"),
        group_sequence in of(any::<u32>()), reply_to_group_id in of(".{0,20}"),
    ) -> Properties {
        Properties {
            message_id, user_id, to, subject, reply_to, correlation_id, content_type: content.0,
            content_encoding: content.1, absolute_expiry_time: times.0, creation_time: times.1, group_id,
            group_sequence, reply_to_group_id,
        }
    }
}

fn message_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::Empty),
        value().prop_map(Body::Value),
        vec(octets(300), 1..3).prop_map(Body::Data),
        vec(value(), 0..3).prop_map(Body::Sequence),
    ]
}

fn header() -> impl Strategy<Value = Header> {
    (
        any::<bool>(),
        of(any::<u8>()),
        of(any::<u32>()),
        any::<bool>(),
        any::<u32>(),
    )
        .prop_map(
            |(durable, priority, ttl, first_acquirer, delivery_count)| Header {
                durable,
                priority,
                ttl,
                first_acquirer,
                delivery_count,
            },
        )
}

prop_compose! {
    fn message()(
        router_annotations in of(value()), header in of(header()), delivery_annotations in of(value()),
        message_annotations in of(value()), properties in properties(), application_properties in map(),
        body in message_body(), footer in of(value()),
    ) -> Message {
        Message {
            router_annotations, header, delivery_annotations, message_annotations, properties,
            application_properties, body, footer,
        }
    }
}

/// Decodes from every strict prefix; each must ask for more.
fn assert_prefixes_incomplete<T: Debug + PartialEq>(
    encoded: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
) -> Result<(), TestCaseError> {
    // Enough of them: every one near the ends, some between.
    let step = (encoded.len() / 64).max(1);
    for cut in (0..encoded.len())
        .step_by(step)
        .chain(encoded.len().saturating_sub(8)..encoded.len())
    {
        prop_assert_eq!(
            decode(&encoded[..cut]),
            Err(DecodeError::Incomplete),
            "cut at {} of {:02x?}",
            cut,
            encoded
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn values_round_trip(value in value()) {
        let mut encoded = BytesMut::new();
        value.encode(&mut encoded);
        prop_assert_eq!(Value::decode_slice(&encoded), Ok((value.clone(), encoded.len())));
        assert_prefixes_incomplete(&encoded, Value::decode_slice)?;
        encoded.extend_from_slice(b"rest");
        let mut shared = encoded.freeze();
        prop_assert_eq!(Value::decode(&mut shared), Ok(value));
        prop_assert_eq!(&shared[..], b"rest");
    }

    #[test]
    fn performatives_round_trip(performative in performative()) {
        let mut encoded = BytesMut::new();
        performative.encode(&mut encoded);
        prop_assert_eq!(Performative::decode_slice(&encoded), Ok((performative.clone(), encoded.len())));
        assert_prefixes_incomplete(&encoded, Performative::decode_slice)?;
        encoded.extend_from_slice(b"payload");
        let mut shared = encoded.freeze();
        prop_assert_eq!(Performative::decode(&mut shared), Ok(performative));
        prop_assert_eq!(&shared[..], b"payload");
    }

    #[test]
    fn sasl_frames_round_trip(frame in sasl_frame()) {
        let mut encoded = BytesMut::new();
        frame.encode(&mut encoded);
        prop_assert_eq!(SaslFrame::decode(&encoded), Ok(frame));
        assert_prefixes_incomplete(&encoded, SaslFrame::decode)?;
    }

    #[test]
    fn messages_round_trip(message in message()) {
        let mut encoded = BytesMut::new();
        message.encode(&mut encoded);
        prop_assert_eq!(Message::decode(&encoded.freeze()), Ok(message));
    }

    #[test]
    fn properties_keep_the_fields_asked_for(properties in properties(), min_fields in 0..20usize) {
        let mut encoded = BytesMut::new();
        properties.encode(&mut encoded, min_fields);
        prop_assert_eq!(&encoded[..4], b"\0\x53\x73\xd0");
        prop_assert!(u32::from_be_bytes(encoded[8..12].try_into().unwrap()) as usize >= min_fields.min(13));
        let section = message::next_section(&encoded).unwrap().unwrap();
        prop_assert_eq!(section.len, encoded.len());
        prop_assert_eq!(Properties::decode(&encoded[section.value_at..]), Ok(properties));
    }

    #[test]
    fn arbitrary_octets_never_panic(input in vec(any::<u8>(), 0..400)) {
        decode_everything(&input);
    }

    /// Octets that begin like something reach deeper.
    #[test]
    fn plausible_octets_never_panic(
        code in prop_oneof![0x10..=0x18u8, Just(0x1d), 0x23..=0x29u8, 0x40..=0x44u8, 0x70..=0x78u8],
        list in prop_oneof![Just(0xc0u8), Just(0xd0), Just(0xc1), Just(0xd1), Just(0xe0), Just(0xf0)],
        input in vec(prop_oneof![any::<u8>(), 0x40..0x46u8, Just(0), Just(0xc0), Just(0xe0)], 0..200),
    ) {
        let mut octets = vec![0x00, 0x53, code, list];
        octets.extend_from_slice(&input);
        decode_everything(&octets);
        if let Ok(size) = u8::try_from(input.len()) {
            octets.insert(4, size);
            decode_everything(&octets);
        }
    }

    #[test]
    fn damaged_recorded_frames_never_panic(frame in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), octet in any::<u8>()) {
        let frames: Vec<_> = common::fixtures().into_iter().flat_map(|(_, frames)| frames).collect();
        let mut octets = frame.get(&frames).octets.clone();
        let at = at.index(octets.len());
        octets[at] = octet;
        decode_everything(&octets);
        decode_everything(octets.get(8..).unwrap_or_default());
    }
}

fn decode_everything(input: &[u8]) {
    let shared = Bytes::copy_from_slice(input);
    assert_eq!(
        Value::decode(&mut shared.clone()).is_ok(),
        Value::decode_slice(input).is_ok()
    );
    if let Ok((performative, len)) = Performative::decode_slice(input) {
        assert!(len <= input.len());
        let mut encoded = BytesMut::new();
        performative.encode(&mut encoded);
        let (again, _) =
            Performative::decode_slice(&encoded).expect("what was decoded can be encoded");
        // Floats that are not numbers compare unequal, but print alike.
        assert_eq!(format!("{again:?}"), format!("{performative:?}"));
    }
    let _ = SaslFrame::decode(input);
    let _ = message::next_section(input);
    let _ = message::section_start(input);
    let _ = Message::decode(&shared);
    let _ = Properties::decode(input);
    let _ = Header::decode(input);
    let _ = amqp::frame::FrameHeader::parse(input);
}

fn decode(hex: &str) -> Result<Value, DecodeError> {
    Value::decode_slice(&common::unhex(hex)).map(|(value, _)| value)
}

#[test]
fn every_constructor_is_understood() {
    let symbols = |names: &[&str]| {
        Value::Array(
            names
                .iter()
                .map(|name| Symbol::from(*name).into())
                .collect(),
        )
    };
    for (hex, expected) in [
        ("40", Value::Null),
        ("41", true.into()),
        ("42", false.into()),
        ("5601", true.into()),
        ("5600", false.into()),
        ("43", 0u32.into()),
        ("5207", 7u32.into()),
        ("70 00000007", 7u32.into()),
        ("44", 0u64.into()),
        ("53ff", 255u64.into()),
        ("80 00000000 000000ff", 255u64.into()),
        ("54ff", (-1i32).into()),
        ("71 fffffffe", (-2i32).into()),
        ("5580", (-128i64).into()),
        ("81 ffffffff ffffff00", (-256i64).into()),
        ("73 0001f600", '😀'.into()),
        ("a10161", "a".into()),
        ("b1 00000001 61", "a".into()),
        ("a30161", Symbol::from("a").into()),
        ("b3 00000001 61", Symbol::from("a").into()),
        ("a00161", Bytes::from_static(b"a").into()),
        ("b0 00000001 61", Bytes::from_static(b"a").into()),
        ("45", Value::List(Vec::new())),
        ("c00100", Value::List(Vec::new())),
        ("c00302 40 41", Value::List(vec![Value::Null, true.into()])),
        ("d0 00000005 00000001 40", Value::List(vec![Value::Null])),
        ("c10302 43 44", Value::Map(vec![(0u32.into(), 0u64.into())])),
        (
            "d1 00000006 00000002 43 44",
            Value::Map(vec![(0u32.into(), 0u64.into())]),
        ),
        ("e00602 a3 0161 0162", symbols(&["a", "b"])),
        ("f0 0000000a 00000001 b3 00000001 61", symbols(&["a"])),
        ("e0020340", Value::Array(vec![Value::Null; 3])),
        ("e0020045", Value::Array(Vec::new())),
        (
            "00 5324 45",
            described(0x24u64.into(), Value::List(Vec::new())),
        ),
        (
            "e0 07 02 00 5301 50 03 04",
            Value::Array(vec![
                described(1u64.into(), 3u8.into()),
                described(1u64.into(), 4u8.into()),
            ]),
        ),
    ] {
        assert_eq!(decode(hex), Ok(expected), "{hex}");
    }
}

#[test]
fn impossible_values_are_refused() {
    for (hex, expected) in [
        ("3f", DecodeError::UnknownConstructor(0x3f)),
        ("57 00", DecodeError::UnknownConstructor(0x57)),
        ("5602", DecodeError::InvalidScalar),
        ("73 0000d800", DecodeError::InvalidScalar),
        ("a101ff", DecodeError::InvalidUtf8),
        ("a301ff", DecodeError::InvalidSymbol),
        // More elements than octets, fewer, and an element that sticks out.
        ("c0 02 ff 40", DecodeError::InvalidCount),
        ("c0 03 01 40 40", DecodeError::Overrun),
        ("c0 03 01 a1 05", DecodeError::Overrun),
        ("c0 00", DecodeError::Overrun),
        ("c1 02 01 40", DecodeError::InvalidCount),
        ("e0 02 01 50", DecodeError::InvalidCount),
        (
            "e0 07 02 00 a10161 50 01",
            DecodeError::UnexpectedDescriptor,
        ),
        // A large array of nothing.
        ("f0 00000005 ffffffff 40", DecodeError::InvalidCount),
        ("f0 00000005 00000401 45", DecodeError::InvalidCount),
    ] {
        assert_eq!(decode(hex), Err(expected), "{hex}");
    }
}

#[test]
fn nesting_has_a_limit() {
    let nested = |depth: usize| (0..depth).fold(Value::Null, |value, _| Value::List(vec![value]));
    for (depth, result) in [
        (amqp::MAX_DEPTH, Ok(())),
        (amqp::MAX_DEPTH + 1, Err(DecodeError::TooDeep)),
    ] {
        let mut encoded = BytesMut::new();
        nested(depth.into()).encode(&mut encoded);
        assert_eq!(Value::decode_slice(&encoded).map(|_| ()), result);
    }
    assert_eq!(decode(&"00".repeat(5000)), Err(DecodeError::TooDeep));
    assert_eq!(
        message::next_section(&[0; 5000]),
        Err(DecodeError::UnexpectedDescriptor)
    );
    let mut section = vec![0x00, 0x53, 0x77];
    section.extend_from_slice(&[0; 5000]);
    assert_eq!(message::next_section(&section), Err(DecodeError::TooDeep));
}

#[test]
fn zero_width_elements_are_limited_over_the_whole_value() {
    // Sixteen arrays of 1000 nulls cost 160 octets.
    let array = common::unhex("f0 00000005 000003e8 40");
    let mut list = vec![0xc0, u8::try_from(1 + 16 * array.len()).unwrap(), 16];
    list.extend(array.repeat(16));
    assert_eq!(Value::decode_slice(&list), Err(DecodeError::InvalidCount));
    assert!(Value::decode_slice(&array).is_ok());
}

#[test]
fn compact_forms_are_written() {
    for (value, hex) in [
        (Value::from(0u32), "43"),
        (255u32.into(), "52ff"),
        (256u32.into(), "7000000100"),
        (0u64.into(), "44"),
        ((-128i32).into(), "5480"),
        (128i32.into(), "7100000080"),
        (Value::List(Vec::new()), "45"),
        (Value::Map(Vec::new()), "d10000000400000000"),
        (Value::Array(Vec::new()), "f0000000050000000040"),
        // Not an array after all.
        (
            Value::Array(vec![1u32.into(), true.into()]),
            "d00000000700000002520141",
        ),
    ] {
        let mut encoded = BytesMut::new();
        value.encode(&mut encoded);
        assert_eq!(encoded[..], common::unhex(hex), "{value:?}");
    }
}

#[test]
fn decoded_binaries_share_the_input() {
    let mut input = Bytes::from(common::unhex("a0 03 010203 a3 02 6162"));
    let range = input.as_ptr_range();
    let Ok(Value::Binary(binary)) = Value::decode(&mut input) else {
        panic!("no binary")
    };
    let Ok(Value::Symbol(symbol)) = Value::decode(&mut input) else {
        panic!("no symbol")
    };
    assert!(range.contains(&binary.as_ptr()) && range.contains(&symbol.as_bytes().as_ptr()));
}

#[test]
fn accessors_convert_and_look_up() {
    let map = Value::Map(vec![
        (Symbol::from("sym").into(), 1u8.into()),
        ("str".into(), (-1i64).into()),
        ("str".into(), "later".into()),
        (1u32.into(), Value::Null),
    ]);
    assert_eq!(map.get("sym").and_then(Value::as_i64), Some(1));
    assert_eq!(map.get("str").and_then(Value::as_i64), Some(-1));
    assert_eq!(map.get("str").and_then(Value::as_u64), None);
    assert_eq!(map.get("none"), None);
    assert_eq!(Value::Ulong(u64::MAX).as_i64(), None);
    assert_eq!(Value::Ulong(u64::MAX).as_u64(), Some(u64::MAX));
    assert_eq!(Value::Timestamp(1).as_i64(), None);
    assert_eq!(Value::Null.get("sym"), None);
}

#[test]
fn symbols_are_ascii() {
    assert_eq!(Symbol::from("grün").as_str(), "gr?n");
    assert_eq!(Symbol::from(String::from("plain")), "plain");
    assert_eq!(format!("{:?}", Symbol::from_static("a:b")), ":a:b");
}

#[test]
fn symbolic_descriptors_and_all_list_forms_are_accepted() {
    let close = |hex: &str| {
        Performative::decode_slice(&common::unhex(hex)).map(|(performative, _)| performative)
    };
    let symbolic = format!("00 a3 0f {} 45", hex(b"amqp:close:list"));
    for octets in [
        "00 5318 45",
        "00 5318 c0 01 00",
        "00 5318 d0 00000004 00000000",
        "00 80 0000000000000018 45",
        "00 5318 c0 02 01 40",
        // More fields than the standard knows.
        "00 5318 c0 04 03 40 5001",
        &symbolic,
    ] {
        assert_eq!(
            close(octets),
            Ok(Performative::Close(Close { error: None })),
            "{octets}"
        );
    }
    assert_eq!(close("00 5319 45"), Err(DecodeError::UnexpectedDescriptor));
    assert_eq!(close("45"), Err(DecodeError::UnexpectedDescriptor));
    assert_eq!(
        close("00 5310 45"),
        Err(DecodeError::MissingField("container-id"))
    );
    assert_eq!(close("00 5318 40"), Err(DecodeError::UnexpectedType(0x40)));
}

#[test]
fn capabilities_are_one_symbol_an_array_or_a_list() {
    for (capabilities, expected) in [
        ("a30161", vec!["a"]),
        (
            "f0 00000011 00000002 b3 00000001 61 00000003 626364",
            vec!["a", "bcd"],
        ),
        ("e00502 a3 0161 00", vec!["a", ""]),
        ("c00702 a30161 a30162", vec!["a", "b"]),
        ("45", vec![]),
        ("40", vec![]),
    ] {
        let capabilities = common::unhex(capabilities);
        let mut encoded = common::unhex("00 5310 c0");
        encoded.push(u8::try_from(1 + 3 + 6 + capabilities.len()).unwrap());
        encoded.extend_from_slice(&common::unhex("08 a10178 40 40 40 40 40 40"));
        encoded.extend_from_slice(&capabilities);
        let (open, _) = Open::decode_slice(&encoded).unwrap();
        let names: Vec<&str> = open
            .offered_capabilities
            .iter()
            .map(Symbol::as_str)
            .collect();
        assert_eq!(names, expected);
    }
    assert!(
        Open::decode_slice(&common::unhex(
            "00 5310 c0 0d 08 a10178 40 40 40 40 40 40 a10161"
        ))
        .is_err()
    );
}

#[test]
fn long_performatives_use_wide_lists() {
    let open = Open {
        container_id: "x".repeat(300),
        ..Open::default()
    };
    let mut encoded = BytesMut::new();
    open.encode(&mut encoded);
    assert_eq!(encoded[3], 0xd0);
    assert_eq!(Open::decode_slice(&encoded), Ok((open, encoded.len())));
    // The longest short one: size 255 counts the count octet.
    let open = Open {
        container_id: "x".repeat(252),
        ..Open::default()
    };
    let mut encoded = BytesMut::new();
    open.encode(&mut encoded);
    assert_eq!(encoded[3..5], [0xc0, 0xff]);
    assert_eq!(Open::decode_slice(&encoded), Ok((open, encoded.len())));
}

#[test]
fn overlong_delivery_tags_are_refused() {
    let mut encoded = common::unhex("00 5314 c0 26 03 43 43 a0 21");
    encoded.extend([0; 33]);
    assert_eq!(
        Transfer::decode_slice(&encoded),
        Err(DecodeError::InvalidField("delivery-tag"))
    );
    assert_eq!(DeliveryTag::new(&[0; 33]), None);
    assert_eq!(DeliveryTag::new(&[0; 300]), None);
}

#[test]
fn frame_headers_are_checked() {
    use amqp::frame::FrameHeader;
    let parse = |hex: &str| FrameHeader::parse(&common::unhex(hex));
    let header = parse("00000010 03 01 0102 ffffffff").unwrap();
    assert_eq!(
        (header.size, header.body_at, header.kind, header.channel),
        (16, 12, 1, 0x0102)
    );
    assert_eq!(parse("00000010 03 01 01"), Err(DecodeError::Incomplete));
    assert_eq!(parse("00000010 01 00 0000"), Err(DecodeError::InvalidFrame));
    assert_eq!(parse("00000008 03 00 0000"), Err(DecodeError::InvalidFrame));
    assert_eq!(parse("00000007 02 00 0000"), Err(DecodeError::InvalidFrame));
}

#[test]
fn message_sections_of_one_kind_are_joined_and_unknown_ones_refused() {
    let message = |hex: &str| Message::decode(&Bytes::from(common::unhex(hex)));
    let data = message("00 5375 a0 01 61 00 5375 b0 00000001 62").unwrap();
    assert_eq!(
        data.body,
        Body::Data(vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")])
    );
    let sequence = message("00 5376 c0 02 01 41 00 5376 45 00 5376 c0 02 01 42").unwrap();
    assert_eq!(
        sequence.body,
        Body::Sequence(vec![true.into(), false.into()])
    );
    assert_eq!(message("").unwrap(), Message::default());
    assert_eq!(
        message("00 5379 40"),
        Err(DecodeError::UnexpectedDescriptor)
    );
    assert_eq!(
        message("00 5375 41"),
        Err(DecodeError::InvalidField("body"))
    );
    assert_eq!(message("00 5375 a0 02 61"), Err(DecodeError::Incomplete));
    assert_eq!(
        message("00 a301 78 40"),
        Err(DecodeError::UnexpectedDescriptor)
    );
}

#[test]
fn data_headers_take_the_short_form_up_to_255_octets() {
    for (len, hex) in [
        (0, "005375a000"),
        (255, "005375a0ff"),
        (256, "005375b000000100"),
    ] {
        let mut out = BytesMut::new();
        message::write_data_header(len, &mut out);
        assert_eq!(out[..], common::unhex(hex));
        let start = message::section_start(&out).unwrap().unwrap();
        assert_eq!(
            (start.code, start.header_len, start.body_len),
            (message::section::DATA, out.len(), len)
        );
    }
}

#[test]
fn secrets_do_not_show() {
    let init = SaslFrame::Init {
        mechanism: amqp::sasl::PLAIN,
        initial_response: Some(Bytes::from_static(b"\0user\0secret")),
        hostname: None,
    };
    assert!(!format!("{init:?}").contains("secret"));
    let password = amqp::engine::Password::from("secret");
    assert!(!format!("{password:?}").contains("secret"));
    assert_eq!(password.reveal(), "secret");
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
