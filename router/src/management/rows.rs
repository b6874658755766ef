//! Rows of entities that exist only at run time, with the attribute names, order and AMQP types of the C routers.

use std::collections::BTreeMap;

use amqp::Value;

/// Something that is an attribute's value. The Rust type decides the AMQP type.
pub(super) trait IntoValue {
    fn into_value(self) -> Value;
}

macro_rules! into_value {
    ($($source:ty => $variant:ident),*) => {
        $(impl IntoValue for $source {
            fn into_value(self) -> Value {
                Value::$variant(self)
            }
        })*
    };
}

into_value!(String => String, bool => Bool, u32 => Uint, u64 => Ulong, i32 => Int, i64 => Long);

impl IntoValue for &str {
    fn into_value(self) -> Value {
        Value::String(self.to_owned())
    }
}

impl IntoValue for Value {
    fn into_value(self) -> Value {
        self
    }
}

impl<T: IntoValue> IntoValue for Option<T> {
    fn into_value(self) -> Value {
        self.map_or(Value::Null, IntoValue::into_value)
    }
}

impl<T: IntoValue> IntoValue for Vec<T> {
    fn into_value(self) -> Value {
        Value::List(self.into_iter().map(IntoValue::into_value).collect())
    }
}

impl<T: IntoValue> IntoValue for BTreeMap<String, T> {
    fn into_value(self) -> Value {
        let entries = self
            .into_iter()
            .map(|(key, value)| (Value::String(key), value.into_value()));
        Value::Map(entries.collect())
    }
}

/// An integer of configured entities: `int`, or `long` where that is too small.
pub(super) fn int(value: u64) -> Value {
    i32::try_from(value).map_or_else(
        |_| Value::Long(i64::try_from(value).unwrap_or(i64::MAX)),
        Value::Int,
    )
}

/// A counter that C routers show as `uint`; `ulong` where that is too small.
fn uint(value: u64) -> Value {
    u32::try_from(value).map_or(Value::Ulong(value), Value::Uint)
}

/// Defines a row: `key` fields only serve to compute name and identity, the others are attributes. Where the AMQP type
/// does not follow from the Rust type, `as` names the conversion.
macro_rules! row {
    (
        $(#[$doc:meta])*
        $name:ident = $type:literal, name: |$name_row:ident| $row_name:expr, identity: |$identity_row:ident| $row_identity:expr;
        key { $($(#[$key_doc:meta])* $key:ident: $key_type:ty,)* }
        $($(#[$field_doc:meta])* $field:ident $attribute:literal: $field_type:ty $(as $convert:ident)?,)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $($(#[$key_doc])* pub $key: $key_type,)*
            $($(#[$field_doc])* pub $field: $field_type,)*
        }

        impl $name {
            /// Long name of the entity type.
            pub const TYPE: &'static str = $type;
            /// Names of all attributes, in order.
            pub const ATTRIBUTES: &'static [&'static str] = &["name", "identity", "type", $($attribute),*];

            /// All attributes, in the order of [`Self::ATTRIBUTES`].
            pub fn into_attributes(self) -> Vec<(&'static str, Value)> {
                let name: String = { let $name_row = &self; $row_name };
                let identity: String = { let $identity_row = &self; $row_identity };
                vec![
                    ("name", Value::String(name)),
                    ("identity", Value::String(identity)),
                    ("type", Value::from(Self::TYPE)),
                    $(($attribute, row!(@value self.$field $(, $convert)?))),*
                ]
            }
        }
    };
    (@value $value:expr) => { $value.into_value() };
    (@value $value:expr, $convert:ident) => { $convert($value) };
}

row! {
    /// The router: what it is and what it counted since it started.
    RouterRow = "io.skupper.router.router", name: |row| row.id.clone(), identity: |_row| "1".to_owned();
    key {}
    /// Router id.
    id "id": String,
    /// `standalone`, `interior` or `edge`.
    mode "mode": String,
    /// Always `0`.
    area "area": String,
    /// Network that the router belongs to.
    van_id "vanId": Option<String>,
    /// Version of the product.
    version "version": String,
    /// Free text of the configuration; Skupper keeps the site's id and version in it as JSON.
    metadata "metadata": Option<String>,
    /// Addresses known.
    addr_count "addrCount": u64,
    /// Links attached.
    link_count "linkCount": u64,
    /// Other routers known.
    node_count "nodeCount": u64,
    /// Always 0.
    auto_link_count "autoLinkCount": u64,
    /// Connections, those of adaptors included.
    connection_count "connectionCount": u64,
    /// Deliveries that were sent settled.
    presettled_deliveries "presettledDeliveries": u64,
    /// Settled deliveries that were thrown away.
    dropped_presettled_deliveries "droppedPresettledDeliveries": u64,
    /// Deliveries with that outcome.
    accepted_deliveries "acceptedDeliveries": u64,
    /// Deliveries with that outcome.
    rejected_deliveries "rejectedDeliveries": u64,
    /// Deliveries with that outcome.
    released_deliveries "releasedDeliveries": u64,
    /// Deliveries with that outcome.
    modified_deliveries "modifiedDeliveries": u64,
    /// Deliveries that took over a second here.
    deliveries_delayed_1_sec "deliveriesDelayed1Sec": u64,
    /// Deliveries that took over ten seconds here.
    deliveries_delayed_10_sec "deliveriesDelayed10Sec": u64,
    /// Deliveries unsettled for long.
    deliveries_stuck "deliveriesStuck": u64,
    /// Deliveries from clients, edge routers and adaptors.
    deliveries_ingress "deliveriesIngress": u64,
    /// Deliveries to clients, edge routers and adaptors.
    deliveries_egress "deliveriesEgress": u64,
    /// Deliveries to interior routers.
    deliveries_transit "deliveriesTransit": u64,
    /// Always 0.
    deliveries_ingress_route_container "deliveriesIngressRouteContainer": u64,
    /// Always 0.
    deliveries_egress_route_container "deliveriesEgressRouteContainer": u64,
    /// Always 0.
    deliveries_redirected_to_fallback "deliveriesRedirectedToFallback": u64,
    /// Links without credit for long.
    links_blocked "linksBlocked": u32,
    /// Since the router started.
    uptime_seconds "uptimeSeconds": u32,
    /// Virtual memory in octets.
    memory_usage "memoryUsage": Option<u64>,
    /// Resident memory in octets.
    resident_memory_usage "residentMemoryUsage": Option<u64>,
    /// Worker threads.
    worker_threads "workerThreads": i32,
    /// Connections by protocol: `tcp`, `amqp`, `http1`, `http2`.
    connection_counters "connectionCounters": BTreeMap<String, u64>,
    /// Name of the host.
    host_name "hostName": Option<String>,
    /// Configured time.
    hello_interval_seconds "helloIntervalSeconds": i32,
    /// Configured time.
    hello_max_age_seconds "helloMaxAgeSeconds": i32,
    /// Configured time.
    ra_interval_seconds "raIntervalSeconds": i32,
    /// Configured time.
    ra_interval_flux_seconds "raIntervalFluxSeconds": i32,
    /// Configured time.
    remote_ls_max_age_seconds "remoteLsMaxAgeSeconds": i32,
    /// Treatment of addresses without configuration.
    default_distribution "defaultDistribution": String,
    /// `auto` or a number.
    data_connection_count "dataConnectionCount": String,
    /// Configured time.
    unreachable_holdoff_seconds "unreachableHoldoffSeconds": i32,
    /// Never set.
    debug_dump_file "debugDumpFile": Option<String>,
    /// Never set.
    sasl_config_dir "saslConfigDir": Option<String>,
    /// Never set.
    sasl_config_name "saslConfigName": Option<String>,
    /// Logs of this implementation have their times in UTC.
    timestamps_in_utc "timestampsInUTC": bool,
    /// Never set.
    timestamp_format "timestampFormat": Option<String>,
    /// Always 0.
    deliveries_ingress_inter_network "deliveriesIngressInterNetwork": u64,
    /// Always 0.
    deliveries_egress_inter_network "deliveriesEgressInterNetwork": u64,
}

row! {
    /// A connection of this router, or one that an adaptor serves.
    ConnectionRow = "io.skupper.router.connection", name: |row| format!("connection/{}", row.host),
        identity: |row| row.identity.clone();
    key {
        /// Number of the connection.
        identity: String,
    }
    /// Peer address of an incoming, configured `host:port` of an outgoing connection.
    host "host": String,
    /// Never set.
    local_socket "localSocket": Option<String>,
    /// `normal`, `inter-router`, `inter-router-data`, `edge`, …
    role "role": String,
    /// `amqp`, `tcp`.
    protocol "protocol": String,
    /// `in` or `out`.
    dir "dir": String,
    /// Container id of the peer.
    container "container": String,
    /// SASL mechanism.
    sasl "sasl": Option<String>,
    /// The peer proved who it is.
    is_authenticated "isAuthenticated": bool,
    /// Who it is.
    user "user": Option<String>,
    /// TLS is used.
    is_encrypted "isEncrypted": bool,
    /// TLS version.
    ssl_proto "sslProto": Option<String>,
    /// TLS cipher suite.
    ssl_cipher "sslCipher": Option<String>,
    /// Properties of the peer's Open: strings and integers.
    properties "properties": BTreeMap<String, Value>,
    /// Key size of the cipher.
    ssl_ssf "sslSsf": i32,
    /// TLS is used.
    ssl "ssl": bool,
    /// Both Opens were exchanged.
    opened "opened": bool,
    /// False for an edge router's connection that only stands by.
    active "active": bool,
    /// `enabled` or `deleted`.
    admin_status "adminStatus": String,
    /// `up` or `closing`.
    oper_status "operStatus": String,
    /// Since the connection was opened.
    uptime_seconds "uptimeSeconds": u32,
    /// Since the last delivery; none without any.
    last_dlv_seconds "lastDlvSeconds": Option<u32>,
    /// Always false.
    enable_protocol_trace "enableProtocolTrace": bool,
    /// Mesh that an edge peer belongs to.
    mesh_id "meshId": Option<String>,
    /// Never set.
    tls_ordinal "tlsOrdinal": Option<u64>,
    /// Correlates data connections with their control connection.
    group_correlation_id "groupCorrelationId": Option<String>,
    /// Number of its certificates.
    group_ordinal "groupOrdinal": Option<u64>,
    /// Octets received in AMQP frames; not known to C routers.
    octets_in "octetsIn": u64,
    /// Octets sent in AMQP frames; not known to C routers.
    octets_out "octetsOut": u64,
}

row! {
    /// A TCP connection of an adaptor, as C routers of version 2 show it.
    TcpConnectionRow = "io.skupper.router.tcpConnection", name: |row| row.name.clone(), identity: |row| row.identity.clone();
    key {
        /// Client of the flow as `host:port`, with `@site` behind it where the site is known.
        name: String,
        /// Number of the connection.
        identity: String,
    }
    /// Address of the service.
    address "address": String,
    /// The other end of the socket.
    host "host": String,
    /// `in` from a client, `out` to a server.
    direction "direction": String,
    /// Octets read from the socket.
    bytes_in "bytesIn": u64 as uint,
    /// Octets written to the socket.
    bytes_out "bytesOut": u64 as uint,
    /// Since the connection was opened.
    uptime_seconds "uptimeSeconds": u32,
    /// Never set: octets are not timed.
    last_in_seconds "lastInSeconds": Option<u32>,
    /// Never set.
    last_out_seconds "lastOutSeconds": Option<u32>,
}

row! {
    /// A router of the network.
    NodeRow = "io.skupper.router.router.node", name: |row| format!("router.node/{}", row.id),
        identity: |row| format!("router.node/{}", row.id);
    key {}
    /// Router id.
    id "id": String,
    /// Version of the routing protocol.
    protocol_version "protocolVersion": i32,
    /// Start time of the router, its instance.
    instance "instance": i32,
    /// Ids of its neighbours.
    link_state "linkState": Vec<String>,
    /// `(self)`; none for neighbours; else the neighbour that leads there.
    next_hop "nextHop": Option<String>,
    /// Routers whose messages may take this router's path to it.
    valid_origins "validOrigins": Vec<String>,
    /// `amqp:/_topo/0/<id>`.
    address "address": String,
    /// Link to it, of neighbours.
    router_link "routerLink": Option<i32>,
    /// Cost of the path to it.
    cost "cost": Option<i32>,
    /// Unix time of the last change of the topology; self only.
    last_topo_change "lastTopoChange": Option<i32>,
    /// Number of the router here.
    index "index": i32,
}

row! {
    /// An address.
    AddressRow = "io.skupper.router.router.address", name: |row| row.key.clone(), identity: |row| row.key.clone();
    key {}
    /// Class letter and address.
    key "key": String,
    /// `closest`, `balanced`, `multicast`, `flood`.
    distribution "distribution": String,
    /// Consumers inside the router.
    in_process "inProcess": u32,
    /// Consumers connected to this router.
    subscriber_count "subscriberCount": u32,
    /// Other routers with consumers.
    remote_count "remoteCount": u32,
    /// Their ids.
    remote_host_routers "remoteHostRouters": Vec<String>,
    /// Deliveries from producers here.
    deliveries_ingress "deliveriesIngress": u64,
    /// Deliveries to consumers here.
    deliveries_egress "deliveriesEgress": u64,
    /// Deliveries from router to router.
    deliveries_transit "deliveriesTransit": u64,
    /// Deliveries to the inside of the router.
    deliveries_to_container "deliveriesToContainer": u64,
    /// Deliveries from the inside of the router.
    deliveries_from_container "deliveriesFromContainer": u64,
    /// Always 0.
    deliveries_egress_route_container "deliveriesEgressRouteContainer": u64,
    /// Always 0.
    deliveries_ingress_route_container "deliveriesIngressRouteContainer": u64,
    /// Always 0.
    deliveries_egress_inter_network "deliveriesEgressInterNetwork": u64,
    /// Always 0.
    deliveries_ingress_inter_network "deliveriesIngressInterNetwork": u64,
    /// Unsettled deliveries by router, of balanced addresses.
    transit_outstanding "transitOutstanding": Option<Vec<u64>>,
    /// Deliveries now followed.
    tracked_deliveries "trackedDeliveries": i64,
    /// -1 without one.
    priority "priority": i32,
    /// Always 0.
    deliveries_redirected_to_fallback "deliveriesRedirectedToFallback": u64,
    /// Something here wants to know whether the address is reachable.
    watch "watch": bool,
}

row! {
    /// A link of a connection.
    LinkRow = "io.skupper.router.router.link", name: |row| row.link_name.clone(), identity: |row| row.identity.clone();
    key {
        /// Number of the link.
        identity: String,
    }
    /// Name of the link.
    link_name "linkName": String,
    /// `endpoint`, `router-control`, `inter-router`, `edge-downlink`.
    link_type "linkType": String,
    /// `in` or `out`.
    link_dir "linkDir": String,
    /// Key of its address.
    owning_addr "owningAddr": Option<String>,
    /// Credit window.
    capacity "capacity": u32,
    /// Link that this one is joined with.
    peer "peer": Option<String>,
    /// Deliveries that wait.
    undelivered_count "undeliveredCount": u64,
    /// Deliveries without settlement.
    unsettled_count "unsettledCount": u64,
    /// Deliveries in all.
    delivery_count "deliveryCount": u64,
    /// Number of the connection.
    connection_id "connectionId": String,
    /// Always `enabled`.
    admin_status "adminStatus": String,
    /// `up`, `down`, `quiescing`, `idle`.
    oper_status "operStatus": String,
    /// Deliveries that were sent settled.
    presettled_count "presettledCount": u64,
    /// Settled deliveries that were thrown away.
    dropped_presettled_count "droppedPresettledCount": u64,
    /// Deliveries with that outcome.
    accepted_count "acceptedCount": u64,
    /// Deliveries with that outcome.
    rejected_count "rejectedCount": u64,
    /// Deliveries with that outcome.
    released_count "releasedCount": u64,
    /// Deliveries with that outcome.
    modified_count "modifiedCount": u64,
    /// Deliveries that took over a second here.
    deliveries_delayed_1_sec "deliveriesDelayed1Sec": u64,
    /// Deliveries that took over ten seconds here.
    deliveries_delayed_10_sec "deliveriesDelayed10Sec": u64,
    /// Deliveries unsettled for long.
    deliveries_stuck "deliveriesStuck": u64,
    /// Streams that moved to a link of their own.
    open_moved_streams "openMovedStreams": u64,
    /// Deliveries by ingress router.
    ingress_histogram "ingressHistogram": Option<Vec<u64>>,
    /// Priority of the link.
    priority "priority": u32,
    /// Settlements per second.
    settle_rate "settleRate": u32,
    /// Credit that the sender has now.
    credit_available "creditAvailable": u32,
    /// How long it has had none.
    zero_credit_seconds "zeroCreditSeconds": u32,
}

row! {
    /// A kind of object that the router holds many of. There are no pools: what is shown is what lives now.
    AllocatorRow = "io.skupper.router.allocator", name: |row| format!("allocator/{}", row.type_name),
        identity: |row| format!("allocator/{}", row.type_name);
    key {}
    /// What it is.
    type_name "typeName": String,
    /// Octets of each, without what it refers to.
    type_size "typeSize": u64 as int,
    /// Always 0.
    transfer_batch_size "transferBatchSize": u64 as int,
    /// Always 0.
    local_free_list_max "localFreeListMax": u64 as int,
    /// Always 0.
    global_free_list_max "globalFreeListMax": u64 as int,
    /// How many there are.
    total_alloc_from_heap "totalAllocFromHeap": u64 as int,
    /// Always 0.
    total_free_to_heap "totalFreeToHeap": u64 as int,
    /// How many there are.
    held_by_threads "heldByThreads": u64 as int,
    /// Always 0.
    batches_rebalanced_to_threads "batchesRebalancedToThreads": u64 as int,
    /// Always 0.
    batches_rebalanced_to_global "batchesRebalancedToGlobal": u64 as int,
}

row! {
    /// A TCP listener.
    TcpListenerRow = "io.skupper.router.tcpListener", name: |row| row.name.clone(),
        identity: |row| format!("tcpListener/{}:{}:{}", row.host, row.port, row.name);
    key {
        /// Name in the configuration.
        name: String,
    }
    /// Address of the service; none if there are several.
    address "address": Option<String>,
    /// Bound host.
    host "host": String,
    /// Bound port.
    port "port": String,
    /// `none`, or how the address of a client is chosen.
    multi_address_strategy "multiAddressStrategy": String,
    /// Configured backlog; 0 is the platform's limit.
    backlog "backlog": i32,
    /// Site of the router.
    site_id "siteId": Option<String>,
    /// Profile of TLS towards clients.
    ssl_profile "sslProfile": Option<String>,
    /// Clients must present a certificate.
    authenticate_peer "authenticatePeer": bool,
    /// `auto`, `legacy` or `lite`.
    encapsulation "encapsulation": String,
    /// Octets from clients.
    bytes_in "bytesIn": u64 as int,
    /// Octets to clients.
    bytes_out "bytesOut": u64 as int,
    /// Connections accepted.
    connections_opened "connectionsOpened": u64 as int,
    /// Connections ended.
    connections_closed "connectionsClosed": u64 as int,
    /// Always `none`: what is said over a connection is not looked at.
    observer "observer": String,
    /// `up` while the socket listens.
    oper_status "operStatus": String,
    /// Why it does not listen.
    connection_msg "connectionMsg": Option<String>,
}

row! {
    /// One of several addresses of a TCP listener.
    ListenerAddressRow = "io.skupper.router.listenerAddress", name: |row| row.name.clone(),
        identity: |row| format!("listenerAddress/{}", row.name);
    key {
        /// Name in the configuration.
        name: String,
    }
    /// Address of the service.
    address "address": String,
    /// Priority or weight.
    value "value": i32,
    /// Name of the listener.
    listener "listener": String,
    /// Clients that got this address.
    connections_opened "connectionsOpened": u64 as int,
}

row! {
    /// A TCP connector.
    TcpConnectorRow = "io.skupper.router.tcpConnector", name: |row| row.name.clone(),
        identity: |row| format!("tcpConnector/{}:{}:{}", row.host, row.port, row.name);
    key {
        /// Name in the configuration.
        name: String,
    }
    /// Address of the service.
    address "address": String,
    /// Target host.
    host "host": String,
    /// Target port.
    port "port": String,
    /// Site of the router.
    site_id "siteId": Option<String>,
    /// Never set.
    process_id "processId": Option<String>,
    /// Profile of TLS towards the target.
    ssl_profile "sslProfile": Option<String>,
    /// The target's certificate must be for `host`.
    verify_hostname "verifyHostname": bool,
    /// `auto`, `legacy` or `lite`.
    encapsulation "encapsulation": String,
    /// Octets from the target.
    bytes_in "bytesIn": u64 as int,
    /// Octets to the target.
    bytes_out "bytesOut": u64 as int,
    /// Connections made, and one as C routers count.
    connections_opened "connectionsOpened": u64 as int,
    /// Connections ended.
    connections_closed "connectionsClosed": u64 as int,
}
