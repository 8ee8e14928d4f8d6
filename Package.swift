// swift-tools-version:6.2
import PackageDescription

/// Every target compiles in Swift 6 mode with warnings as errors; the house's floors
/// (see README, "Architecture") are the dependency lists below, and they only point down.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .testTarget(
        name: name + "Tests",
        dependencies: [.byName(name: name), "JouledTestKit"] + dependencies,
        swiftSettings: strict
    )
}

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "jouled",
    products: [
        .executable(name: "jouled", targets: ["jouled"]),
        .executable(name: "joulectl", targets: ["joulectl"]),
        .library(name: "JouledClient", targets: ["JouledClient"]),
        .library(name: "JouledTestKit", targets: ["JouledTestKit"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
    ],
    targets: [
        // Floor 0: quantities and C.
        module("Units"),
        .systemLibrary(
            name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
        .target(name: "COnnxRuntime"),
        .target(name: "CLinux"),

        // Floor 1: formats and the operating system.
        module("ConfigDocument", ["Units", "TOMLKit"]),
        module("Wire", ["Units"]),
        module("Systemd", ["Units", "CSystemd", "CLinux"]),
        .target(
            name: "OnnxGraph", dependencies: ["Units", .product(name: "SwiftProtobuf", package: "swift-protobuf")],
            exclude: ["Schema"], swiftSettings: strict),

        // Floor 2: what the device is and what it has.
        module("EnergyModel", ["Units", "ConfigDocument"]),
        module("ModelStore", ["Units", "ConfigDocument", "EnergyModel", .product(name: "Crypto", package: "swift-crypto")]),
        module("InferenceRuntime", ["Units", "COnnxRuntime", "CLinux"]),
        module("PowerTelemetry", ["Units"]),

        // Floor 3: sessions and decisions.
        module("StreamSessions", ["Units", "Wire", "Systemd", "InferenceRuntime"]),
        module("Planner", ["Units"]),
        module("PowerPolicy", ["Units", "ConfigDocument"]),
        module("Quantizer", ["Units", "ConfigDocument", "Wire", "OnnxGraph", "ModelStore", "EnergyModel", "InferenceRuntime", "StreamSessions", "CLinux"]),

        // Files and sensors as sources of streams; recordings are read as calibration reads them.
        module("SignalSources", ["Units", "PowerTelemetry", "Quantizer"]),

        // The decision loop as a value, between floors 3 and 4: the daemon and the simulator run the same one.
        module("Decisions", ["Units", "EnergyModel", "PowerPolicy", "Planner"]),

        // What of decisions is recorded, and made again from it.
        module("DecisionRecords", ["Units", "Wire", "EnergyModel", "PowerPolicy", "Planner", "Decisions"]),

        // Floor 4: composition.
        module(
            "JouledDaemon",
            [
                "Units", "ConfigDocument", "Wire", "Systemd", "EnergyModel", "ModelStore",
                "InferenceRuntime", "PowerTelemetry", "StreamSessions", "Planner", "PowerPolicy", "Decisions", "DecisionRecords", "CLinux",
            ]),
        module("Simulation", ["Units", "ConfigDocument", "EnergyModel", "PowerTelemetry", "Planner", "PowerPolicy", "Decisions"]),
        module("JouledClient", ["Units", "Wire", "CLinux"]),

        module("OperatorViews", ["Units", "Wire"]),

        // Home Assistant's voice protocol: events and a connection's behaviour as values, and the endpoint that is a client of jouled.
        module("Wyoming", ["Units", "Wire"]),
        module("WyomingServer", ["Units", "Wire", "Wyoming", "JouledClient", "CLinux"]),

        // Floor 5: executables only parse arguments and wire.
        .executableTarget(
            name: "jouled", dependencies: ["JouledDaemon", "ConfigDocument", "InferenceRuntime", "Systemd", "Units", argumentParser], swiftSettings: strict),
        .executableTarget(
            name: "joulectl",
            dependencies: [
                "CLinux", "JouledClient", "ConfigDocument", "Units", "Wire", "ModelStore", "EnergyModel", "PowerPolicy", "Quantizer",
                "OnnxGraph", "Simulation", "Decisions", "DecisionRecords", "SignalSources", "OperatorViews", "PowerTelemetry",
                "InferenceRuntime", "JouledDaemon", "Systemd", "Wyoming", "WyomingServer", argumentParser,
            ],
            swiftSettings: strict),

        // How long plans take; run by `make bench-planner`.
        .executableTarget(name: "planner-bench", dependencies: ["JouledTestKit", "Planner", "Units"], path: "Benchmarks/Planner", swiftSettings: strict),

        // The hot path alone, whose instructions `make test` counts.
        .executableTarget(
            name: "hotpath", dependencies: ["StreamSessions", "Systemd", "InferenceRuntime", "Wire", "Units"], path: "Benchmarks/hotpath", swiftSettings: strict),

        // Tests.
        module("JouledTestKit", ["Units"]),
        .target(
            name: "FuzzTargets",
            dependencies: ["ConfigDocument", "DecisionRecords", "Decisions", "EnergyModel", "JouledDaemon", "JouledTestKit", "ModelStore", "OnnxGraph", "PowerPolicy", "PowerTelemetry", "Quantizer", "Simulation", "Units", "Wire", "Wyoming"],
            path: "Tests/Fuzz/Targets", swiftSettings: strict),
        .executableTarget(name: "fuzz", dependencies: ["FuzzTargets", "JouledTestKit"], path: "Tests/Fuzz/Driver", swiftSettings: strict),
        .executableTarget(name: "certification", dependencies: ["CLinux", "Units", "Wire"], path: "Tests/Certification", swiftSettings: strict),
        .testTarget(name: "FuzzTests", dependencies: ["FuzzTargets", "JouledTestKit"], swiftSettings: strict),
        tests("Units"),
        tests("ConfigDocument", ["Units"]),
        tests("Wire", ["Units"]),
        tests("Wyoming", ["Units", "Wire"]),
        tests("Systemd", ["Units"]),
        tests("OnnxGraph", ["Units"]),
        tests("Quantizer", ["Units", "ConfigDocument", "OnnxGraph", "ModelStore", "InferenceRuntime"]),
        tests("EnergyModel", ["Units"]),
        tests("ModelStore", ["Units", "EnergyModel"]),
        tests("InferenceRuntime", ["Units"]),
        tests("PowerTelemetry", ["Units"]),
        tests("StreamSessions", ["Units", "Wire", "Systemd", "InferenceRuntime"]),
        tests("Planner", ["Units"]),
        tests("PowerPolicy", ["Units", "ConfigDocument"]),
        tests("Decisions", ["Units", "EnergyModel", "PowerPolicy", "Planner"]),
        tests("DecisionRecords", ["Units", "Wire", "EnergyModel", "Planner", "PowerPolicy", "Decisions", "Simulation"]),
        tests("Simulation", ["Units", "EnergyModel", "PowerTelemetry", "Planner", "PowerPolicy", "Decisions"]),
        .testTarget(
            name: "DaemonTests",
            dependencies: ["JouledDaemon", "JouledClient", "JouledTestKit", "Units", "Wire", "ModelStore", "Systemd", "CLinux", "Decisions", "PowerPolicy", "Wyoming"],
            exclude: ["Scripts"], swiftSettings: strict),
    ]
)
