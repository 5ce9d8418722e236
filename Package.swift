// swift-tools-version: 6.2
// Targets are grouped by folder, Sources/<Group>/<Target>; an import points down only.
// ARCHITECTURE.md draws the house; Tests/TidyTests holds the allowed edges.
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

func module(
    _ group: String, _ name: String, _ dependencies: [Target.Dependency] = [], path: String? = nil,
    exclude: [String] = []
) -> Target {
    .target(
        name: name, dependencies: dependencies, path: path ?? "Sources/\(group)/\(name)", exclude: exclude,
        swiftSettings: settings)
}

func program(_ name: String, _ dependencies: [Target.Dependency], path: String? = nil) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies, path: path ?? "Sources/Executable/\(name)", swiftSettings: settings)
}

func library(_ name: String, pkgConfig: String, apt: String) -> Target {
    .systemLibrary(name: name, path: "Sources/System/\(name)", pkgConfig: pkgConfig, providers: [.apt([apt])])
}

func suite(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(
        name: name, dependencies: dependencies + ["TestSupport"], path: "Tests/\(name)", swiftSettings: settings)
}

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioWebSocket = Target.Dependency.product(name: "NIOWebSocket", package: "swift-nio")
let nioTLS = Target.Dependency.product(name: "NIOTLS", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let cryptoExtras = Target.Dependency.product(name: "CryptoExtras", package: "swift-crypto")
let x509 = Target.Dependency.product(name: "X509", package: "swift-certificates")
let asn1 = Target.Dependency.product(name: "SwiftASN1", package: "swift-asn1")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let hummingbirdCore = Target.Dependency.product(name: "HummingbirdCore", package: "hummingbird")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let httpClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let subprocess = Target.Dependency.product(name: "Subprocess", package: "swift-subprocess")
let systemPackage = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")
let grpc = Target.Dependency.product(name: "GRPCCore", package: "grpc-swift-2")
let grpcTransport = Target.Dependency.product(name: "GRPCNIOTransportHTTP2Posix", package: "grpc-swift-nio-transport")
let grpcProtobuf = Target.Dependency.product(name: "GRPCProtobuf", package: "grpc-swift-protobuf")
let protobuf = Target.Dependency.product(name: "SwiftProtobuf", package: "swift-protobuf")

let package = Package(
    name: "muster",
    products: [.library(name: "clock-skew", type: .dynamic, targets: ["CClockSkew"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.3"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.2"),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.1"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
    ],
    targets: [
        // System: C libraries and the only C code.
        library("CUdev", pkgConfig: "libudev", apt: "libudev-dev"),
        library("CBlkid", pkgConfig: "blkid", apt: "libblkid-dev"),
        library("CNetlink", pkgConfig: "libnl-route-3.0", apt: "libnl-route-3-dev"),
        library("CNftables", pkgConfig: "libnftables", apt: "libnftables-dev"),
        library("CLibvirt", pkgConfig: "libvirt", apt: "libvirt-dev"),
        library("CXML", pkgConfig: "libxml-2.0", apt: "libxml2-dev"),
        library("CCrypt", pkgConfig: "libxcrypt", apt: "libcrypt-dev"),
        library("CZstd", pkgConfig: "libzstd", apt: "libzstd-dev"),
        .target(name: "CLinux", path: "Sources/System/CLinux"),
        // Preloaded by the bed into conductors whose clock shall be wrong; nothing links it.
        .target(name: "CClockSkew", path: "Sources/System/CClockSkew"),

        // Base: values that everything else is made of.
        module("Base", "Primitives"),
        module("Base", "WireCoding", ["Primitives"]),
        module("Base", "ProgramRuns", ["Primitives", "CLinux"]),

        // Protocol: pure codecs and clients.
        module("Protocol", "DHCP", ["Primitives", "WireCoding"]),
        module("Protocol", "TFTP", ["Primitives", "WireCoding"]),
        module("Protocol", "LLDP", ["Primitives", "WireCoding"]),
        module("Protocol", "NetworkBoot", ["Primitives"]),
        module("Protocol", "Redfish", ["Primitives"]),
        module("Protocol", "IPMI", ["Primitives"]),
        module("Protocol", "TPM", ["Primitives", "WireCoding"]),
        module("Protocol", "WebSocketMessages", ["Primitives", nioCore, nioWebSocket]),
        module("Protocol", "ImageChunks", ["Primitives", "WireCoding", "CZstd", crypto]),

        // Resource: the catalog's contract and its engines.
        module("Resource", "ResourceModel", ["Primitives", logging]),
        module("Resource", "ReconcileRuntime", ["Primitives", "ResourceModel", logging, lifecycle]),
        module("Resource", "StoreMemory", ["Primitives", "ResourceModel"]),
        module("Resource", "StoreSQLite", ["Primitives", "ResourceModel", grdb]),
        module(
            "Resource", "StoreEtcd",
            [
                "Primitives", "ResourceModel", grpc, grpcTransport, grpcProtobuf, protobuf, nioCore, nioPosix, logging,
                lifecycle,
            ],
            exclude: ["Wire/etcd.proto", "Wire/regenerate.sh"]),
        module("Resource", "BlobStore", ["Primitives", "CLinux", crypto]),

        // Contract: typed resources and the messages between conductor and node.
        module("Contract", "CatalogIdentity", ["Primitives", "ResourceModel", "AgentProtocol", crypto]),
        module("Contract", "CatalogBareMetal", ["Primitives", "ResourceModel", "AgentProtocol"]),
        module("Contract", "AgentProtocol", ["Primitives", "ResourceModel"]),
        module("Contract", "NetworkUnits", ["Primitives", "AgentProtocol"]),

        // Domain: state machines, planners, reconcilers.
        module("Domain", "Policy", ["Primitives", yams]),
        module(
            "Domain", "Identity",
            [
                "Primitives", "ResourceModel", "ReconcileRuntime", "AgentProtocol", "CatalogIdentity", crypto,
                cryptoExtras, x509, asn1,
            ]),
        module(
            "Domain", "BareMetal",
            ["Primitives", "ResourceModel", "CatalogBareMetal", "AgentProtocol", crypto, logging, lifecycle]),
        module(
            "Domain", "Fleet",
            [
                "Primitives", "ResourceModel", "CatalogBareMetal", "CatalogIdentity", "AgentProtocol", "FleetContract",
                yams,
            ]),
        module("Domain", "ControlPlane", ["Primitives", "ResourceModel", "CatalogBareMetal", "AgentProtocol"]),

        // Adapter: drivers and servers that face hardware.
        module(
            "Adapter", "StoreMembers", ["Primitives", "AgentProtocol", "ResourceModel", "StoreEtcd", "ControlPlane"]),
        module(
            "Adapter", "BMCDrivers",
            [
                "Primitives", "BareMetal", "CatalogBareMetal", "Redfish", "IPMI", httpClient, nioCore, nioPosix,
                nioHTTP1, nioSSL, crypto, logging, "ProgramRuns", subprocess, systemPackage,
            ]),
        module(
            "Adapter", "BootServer",
            [
                "Primitives", "WireCoding", "DHCP", "TFTP", "NetworkBoot", "ResourceModel", "CatalogBareMetal",
                "AgentProtocol", "BlobStore",
                "CLinux", "ImageChunks", hummingbird, hummingbirdCore, httpTypes, nioCore, nioPosix, logging,
                lifecycle,
            ]),
        module(
            "Adapter", "TPMVerification",
            [
                "Primitives", "WireCoding", "TPM", "AgentProtocol", "BareMetal", "Identity", crypto, cryptoExtras,
            ]),
        module(
            "Adapter", "OpenIDIssuers",
            ["Primitives", "Identity", yams, httpClient, nioCore, nioPosix, nioHTTP1, nioSSL]),
        module(
            "Adapter", "BlobPeers",
            ["Primitives", "BlobStore", httpClient, nioCore, nioPosix, nioHTTP1, nioSSL, lifecycle]),
        module(
            "Adapter", "AgentPort",
            [
                "Primitives", "ResourceModel", "AgentProtocol", "WebSocketMessages", "Identity", nioCore, nioPosix,
                nioHTTP1, nioWebSocket, nioTLS, nioSSL, x509, asn1, logging, lifecycle,
            ]),

        // API: HTTP for operators.
        module(
            "API", "APISupport",
            [
                "Primitives", "ResourceModel", "ReconcileRuntime", "AgentProtocol", "CatalogIdentity", "Identity",
                "Policy", hummingbird, httpTypes, nioCore, logging,
            ]),
        module(
            "API", "IdentityAPI",
            [
                "Primitives", "ResourceModel", "ReconcileRuntime", "CatalogIdentity", "Identity", "Policy",
                "APISupport", crypto,
                hummingbird, httpTypes, nioCore, logging, lifecycle,
            ]),
        module(
            "API", "BareMetalAPI",
            [
                "Primitives", "ResourceModel", "ReconcileRuntime", "CatalogBareMetal", "CatalogIdentity",
                "AgentProtocol", "Identity", "BareMetal", "Policy", "APISupport", httpTypes, logging,
            ]),
        module(
            "API", "FleetAPI",
            [
                "Primitives", "ResourceModel", "ReconcileRuntime", "CatalogBareMetal", "CatalogIdentity",
                "AgentProtocol", "APISupport", "FleetContract", "Identity", "BareMetal", "Fleet", "BlobStore",
                "ControlPlane", "Policy", "ImageChunks", "NetworkBoot", hummingbird, httpTypes, nioCore, logging,
                lifecycle,
            ]),

        .target(
            name: "Dashboard",
            dependencies: [
                "Primitives", "ResourceModel", "CatalogBareMetal", "CatalogIdentity", "AgentProtocol", "APISupport",
                "FleetContract", "FleetAPI", "Identity", hummingbird, httpTypes, nioCore, crypto, logging, lifecycle,
            ],
            path: "Sources/API/Dashboard",
            resources: [
                .embedInCode("Assets/dashboard.css"), .embedInCode("Assets/dashboard.js"),
                .embedInCode("Assets/icon.svg"),
            ],
            swiftSettings: settings),

        // Node: what runs on machines.
        module("Node", "LinuxSystem", ["Primitives", "ProgramRuns", "CLinux", "CNetlink", "CNftables"]),
        module(
            "Node", "HardwareInventory",
            ["Primitives", "AgentProtocol", "LinuxSystem", "IPMI", "LLDP", "TPM", "CUdev", "CBlkid", "CLinux"]),
        module(
            "Node", "DiskImaging",
            ["Primitives", "ProgramRuns", "AgentProtocol", "ImageChunks", "LinuxSystem", "CLinux"]),
        module(
            "Node", "NodeTransport",
            ["Primitives", "WebSocketMessages", nioCore, nioPosix, nioHTTP1, nioWebSocket, nioTLS, nioSSL]),
        module(
            "Node", "NodeNetworking",
            ["Primitives", "ProgramRuns", "AgentProtocol", "NetworkUnits", "LinuxSystem", nioCore, nioPosix, logging]),
        module(
            "Node", "NodeAgent",
            [
                "Primitives", "ResourceModel", "AgentProtocol", "NodeNetworking", "NodeTransport", "WebSocketMessages",
                "LinuxSystem",
                x509, asn1, crypto,
                nioCore, nioPosix, nioSSL, logging, lifecycle, unixSignals,
            ]),
        module(
            "Node", "RoleCompute",
            ["Primitives", "AgentProtocol", "NodeAgent", "LinuxSystem", "CLibvirt", "CXML"]),
        module("Node", "RoleNetwork", ["Primitives", "AgentProtocol", "NodeAgent", "LinuxSystem"]),
        module(
            "Node", "RoleStorage",
            ["Primitives", "ProgramRuns", "AgentProtocol", "NodeAgent", "LinuxSystem", "HardwareInventory"]),
        module(
            "Node", "RoleController",
            ["Primitives", "ProgramRuns", "AgentProtocol", "NodeAgent", "LinuxSystem", "CLinux", x509, asn1, crypto]),
        module(
            "Node", "Discovery",
            [
                "Primitives", "ProgramRuns", "AgentProtocol", "HardwareInventory", "DiskImaging", "ImageChunks",
                "NodeTransport", "LinuxSystem", "TPM", nioCore, nioPosix,
            ]),

        // App: composition, client, commands.
        module(
            "App", "ConductorServer",
            [
                "Primitives", "ResourceModel", "ReconcileRuntime", "StoreSQLite", "StoreEtcd", "BlobStore",
                "CatalogBareMetal", "FleetContract",
                "CatalogIdentity", "AgentProtocol", "NetworkUnits", "Identity", "BareMetal", "Fleet", "BMCDrivers",
                "BootServer", "TPMVerification", "OpenIDIssuers", "BlobPeers", "ControlPlane", "StoreMembers",
                "AgentPort", "APISupport", "BareMetalAPI", "FleetAPI", "IdentityAPI", "Policy", "Dashboard",
                "ImageChunks", "NetworkBoot", "CLinux",
                "CCrypt",
                crypto,
                x509, asn1,
                hummingbird, hummingbirdCore, httpTypes, nioCore, nioPosix, nioSSL, logging, lifecycle, unixSignals,
                yams,
            ]),
        module(
            "App", "ClientSDK",
            [
                "Primitives", "ResourceModel", "CatalogBareMetal", "AgentProtocol", "FleetContract", httpClient,
                nioCore, nioHTTP1, nioSSL,
            ]),
        module(
            "App", "CLICommands",
            [
                "Primitives", "ResourceModel", "ClientSDK", "CatalogBareMetal", "CatalogIdentity", "AgentProtocol",
                "FleetContract", "Fleet",
                "ImageChunks", "NetworkBoot", "CLinux", arguments, nioCore, yams,
            ]),
        module(
            "Contract", "FleetContract",
            ["Primitives", "ResourceModel", "CatalogBareMetal", "CatalogIdentity", "AgentProtocol"]),

        program("muster", ["CLICommands"]),
        program("muster-conductor", ["ConductorServer", "StoreEtcd", "Primitives", arguments, logging]),
        program("discovery-agent", ["Discovery", "LinuxSystem"]),
        program("network-agent", ["NodeAgent", "RoleNetwork", "LinuxSystem", "Primitives"]),
        program("compute-agent", ["NodeAgent", "RoleCompute", "RoleNetwork"]),
        program("node-agent", ["NodeAgent", "RoleCompute", "RoleNetwork", "RoleStorage", "RoleController"]),
        program("storage-agent", ["NodeAgent", "RoleStorage"]),
        program("controller-agent", ["NodeAgent", "RoleController"]),
        program("muster-rack", ["VirtualRack", "Primitives", arguments]),

        // Testing.
        module(
            "Testing", "TestSupport", ["Primitives", "ResourceModel", "ReconcileRuntime", "StoreMemory", logging]),
        module(
            "Testing", "EtcdBed", ["Primitives", "ProgramRuns", "CLinux", x509, asn1, crypto]),
        module(
            "Testing", "VirtualRack", ["Primitives", "WireCoding", "CLinux", yams, subprocess, systemPackage, logging]),
        module("Testing", "Histories", ["Primitives"]),
        module(
            "Testing", "ControlPlaneBed",
            [
                "Primitives", "Histories", "VirtualRack", "AgentProtocol", "NodeAgent", "NodeTransport", httpClient,
                nioCore, nioPosix, nioHTTP1, nioSSL, logging,
            ]),
        program("muster-bed", ["ControlPlaneBed", "Primitives", arguments]),
        program(
            "agent-load",
            [
                "Primitives", "AgentProtocol", "AgentPort", "Identity", "NodeTransport", "WebSocketMessages",
                arguments, x509, asn1, crypto, nioCore, nioPosix, nioHTTP1, nioSSL, nioWebSocket, logging, lifecycle,
            ],
            path: "Tests/Benchmarks/agent-load"),
        program(
            "fleet-load",
            [
                "Primitives", "AgentProtocol", "DHCP", "NodeTransport", "WebSocketMessages", "ResourceModel",
                "StoreSQLite", arguments, x509, asn1, crypto, nioCore, nioPosix,
            ],
            path: "Tests/Benchmarks/fleet-load"),
        program(
            "etcd-load",
            [
                "Primitives", "ResourceModel", "StoreEtcd", "EtcdBed", arguments, grpc, grpcTransport, grpcProtobuf,
                protobuf, logging,
            ],
            path: "Tests/Benchmarks/etcd-load"),
        program(
            "node-bench",
            ["AgentProtocol", "HardwareInventory", "DiskImaging", "ImageChunks", "Primitives", arguments],
            path: "Tests/Benchmarks/node-bench"),

        module(
            "Testing", "FuzzTargets",
            [
                "Primitives", "DHCP", "TFTP", "LLDP", "NetworkBoot", "Redfish", "IPMI", "WebSocketMessages",
                "ImageChunks", "ResourceModel", "AgentProtocol", "CatalogBareMetal", "FleetContract", "BareMetal",
                "Fleet", "Identity", "OpenIDIssuers", "Policy", "BootServer", "HardwareInventory", "DiskImaging",
                hummingbird,
                hummingbirdCore,
                httpTypes,
                nioCore, nioEmbedded, nioWebSocket, logging,
            ], path: "Tests/Fuzz/Targets"),

        suite("FuzzTests", ["FuzzTargets"]),
        suite("PrimitivesTests", ["Primitives", "WireCoding", "ProgramRuns"]),
        suite("DHCPTests", ["DHCP", "Primitives", "WireCoding"]),
        suite("TFTPTests", ["TFTP", "Primitives", "WireCoding"]),
        suite("LLDPTests", ["LLDP", "Primitives", "WireCoding"]),
        suite("NetworkBootTests", ["NetworkBoot", "Primitives"]),
        suite(
            "TPMTests",
            [
                "TPM", "TPMVerification", "Discovery", "HardwareInventory", "Identity", "BareMetal", "AgentProtocol",
                "ProgramRuns", "Primitives", "WireCoding",
            ]),
        suite(
            "RedfishTests",
            [
                "Redfish", "BMCDrivers", "ConductorServer", "FleetContract", "BareMetal", "CatalogBareMetal",
                "Primitives", nioCore, nioPosix,
                nioHTTP1,
                nioSSL, httpClient, x509, asn1, crypto, logging, subprocess, systemPackage,
            ]),
        suite(
            "IPMITests",
            [
                "IPMI", "BMCDrivers", "BareMetal", "CatalogBareMetal", "ResourceModel", "StoreMemory", "Primitives",
                logging, subprocess, systemPackage,
            ]),
        suite("ImageChunksTests", ["ImageChunks", "Primitives"]),
        suite(
            "ResourceModelTests",
            [
                "ResourceModel", "ReconcileRuntime", "StoreMemory", "StoreSQLite", "BlobStore", "Primitives", grdb,
                logging,
            ]),
        suite(
            "IdentityTests",
            [
                "Identity", "OpenIDIssuers", "CatalogIdentity", "AgentProtocol", "ResourceModel", "StoreMemory",
                "Primitives", crypto, x509, asn1,
            ]),
        module(
            "Testing", "APIConformance",
            [
                "APISupport", "AgentProtocol", "Identity", "CatalogIdentity", "ResourceModel", "Primitives",
                "TestSupport",
                hummingbird, httpTypes, nioCore, nioEmbedded, logging,
            ], path: "Tests/APIConformance"),
        suite("PolicyTests", ["Policy", "Primitives"]),
        suite(
            "IdentityAPITests",
            [
                "IdentityAPI", "APISupport", "APIConformance", "Identity", "Policy", "CatalogIdentity",
                "ResourceModel", "ReconcileRuntime",
                "StoreMemory", "Primitives", hummingbird, httpTypes, nioCore, nioEmbedded, logging, crypto,
                cryptoExtras,
            ]),
        suite(
            "BareMetalTests",
            [
                "BareMetal", "CatalogBareMetal", "CatalogIdentity", "AgentProtocol", "ResourceModel",
                "ReconcileRuntime",
                "StoreMemory", "Primitives", logging,
            ]),
        suite(
            "SimulationTests",
            [
                "BareMetal", "BootServer", "TPMVerification", "ConductorServer", "Discovery", "NodeAgent", "Identity",
                "DHCP",
                "NetworkBoot", "CatalogBareMetal", "CatalogIdentity", "AgentProtocol", "ResourceModel",
                "ReconcileRuntime", "StoreMemory", "StoreSQLite", "Primitives", grdb, crypto, logging, httpTypes,
            ]),
        suite(
            "FleetTests",
            [
                "Fleet", "FleetContract", "CatalogBareMetal", "CatalogIdentity", "AgentProtocol", "BareMetal",
                "ResourceModel", "StoreMemory", "Primitives",
            ]),
        suite(
            "BootServerTests",
            [
                "BootServer", "DHCP", "NetworkBoot", "CatalogBareMetal", "ResourceModel", "StoreMemory", "BlobStore",
                "Primitives", "WireCoding", "ImageChunks", hummingbird, httpClient, nioCore, nioPosix, nioHTTP1,
                logging, lifecycle, subprocess, systemPackage,
            ]),
        suite(
            "AgentPortTests",
            [
                "AgentPort", "AgentProtocol", "NodeAgent", "NodeTransport", "Identity", "ResourceModel", "Primitives",
                "WebSocketMessages", "LinuxSystem", crypto, x509, asn1, nioCore, nioPosix, nioHTTP1, nioSSL,
                nioWebSocket,
                logging, lifecycle,
            ]),
        suite(
            "NodeTests",
            [
                "CLinux", "LinuxSystem", "HardwareInventory", "IPMI", "LLDP", "DiskImaging", "Discovery", "RoleNetwork",
                "RoleStorage", "RoleController", "NodeAgent", "NodeTransport", "AgentProtocol", "ImageChunks",
                "Primitives", "ControlPlane", "BareMetal", "CatalogBareMetal", "ResourceModel", "StoreMemory",
                "Identity", "WireCoding", nioCore, nioPosix, logging,
            ]),
        suite(
            "NodeNetworkingTests",
            ["NodeNetworking", "NetworkUnits", "LinuxSystem", "AgentProtocol", "Primitives", logging]),
        suite("ComputeTests", ["RoleCompute", "NodeAgent", "AgentProtocol", "Primitives"]),
        suite(
            "BareMetalAPITests",
            [
                "BareMetalAPI", "BareMetal", "APISupport", "APIConformance", "Identity", "Policy", "CatalogIdentity",
                "CatalogBareMetal",
                "AgentProtocol", "ReconcileRuntime", "ResourceModel", "StoreMemory", "Primitives", hummingbird,
                httpTypes,
                nioCore, nioEmbedded, logging,
            ]),
        suite(
            "APISupportTests",
            [
                "APISupport", "Identity", "Policy", "CatalogIdentity", "ResourceModel", "ReconcileRuntime",
                "StoreMemory",
                "Primitives", hummingbird, httpTypes, nioCore, nioEmbedded, logging,
            ]),
        suite(
            "ConductorTests",
            [
                "ConductorServer", "AgentPort", "NodeAgent", "NodeTransport", "WebSocketMessages", "LinuxSystem",
                "CLinux",
                "RoleCompute", "RoleController", "RoleNetwork", "RoleStorage", grdb,
                "BMCDrivers", "BootServer", "OpenIDIssuers", "BlobPeers", "DHCP", "FleetAPI", "Dashboard", "APISupport",
                "FleetContract", "ClientSDK",
                "CLICommands",
                "Identity", "Policy", "IdentityAPI", "BareMetalAPI",
                "CatalogIdentity",
                "CatalogBareMetal", "AgentProtocol", "BareMetal", "Fleet", "ResourceModel", "ReconcileRuntime",
                "StoreMemory", "StoreSQLite", "StoreEtcd", "EtcdBed", "ControlPlane", "StoreMembers",
                "BlobStore", "ImageChunks", "Primitives", hummingbird, httpClient, httpTypes, nioCore, nioPosix,
                nioHTTP1, nioSSL,
                logging, arguments, "ProgramRuns", crypto, x509, asn1,
                hummingbirdCore, nioEmbedded,
            ]),
        suite(
            "RackTests",
            [
                "RoleCompute", "NodeAgent", "AgentProtocol", "VirtualRack", "ClientSDK", "FleetContract",
                "CatalogBareMetal", "ImageChunks", "Primitives",
                subprocess, httpClient, logging,
            ]),
        suite(
            "StoreEtcdTests",
            [
                "StoreEtcd", "EtcdBed", "StoreMemory", "StoreSQLite", "ConductorServer", "ResourceModel", "ProgramRuns",
                "Primitives", nioCore, nioPosix, logging, lifecycle,
            ]),
        suite(
            "ControlPlaneTests",
            [
                "ControlPlane", "StoreMembers", "StoreEtcd", "EtcdBed", "CatalogBareMetal", "AgentProtocol",
                "ReconcileRuntime", "ResourceModel", "StoreMemory", "Primitives", logging,
            ]),
        suite("HistoryTests", ["Histories", "Primitives"]),
        suite("ControlPlaneBedTests", ["ControlPlaneBed", "VirtualRack", "Primitives"]),
        suite("TidyTests", []),
    ],
    swiftLanguageModes: [.v6]
)
