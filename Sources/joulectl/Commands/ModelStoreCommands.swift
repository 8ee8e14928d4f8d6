import ArgumentParser
import InferenceRuntime
import ModelStore
import OnnxGraph
import Quantizer
import Units

/// Where bundles are published.
struct StoreOptions: ParsableArguments {
    @Option(help: "The store: a directory of MODEL/VERSION bundles.", completion: .directory)
    var store = "/var/lib/jouled/models"
}

/// `joulectl model build`: the whole pipeline.
struct ModelBuildCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "build", abstract: "Import, quantize, validate, profile and publish a model, as a recipe says.")
    @Argument(help: "The recipe.", completion: .file(extensions: ["toml"]))
    var recipe: String
    @OptionGroup var store: StoreOptions
    @OptionGroup var runtime: RuntimeOptions
    @Option(help: "Wake-ups measured per variant.")
    var rounds = 40

    func validate() throws {
        guard (3...10_000).contains(rounds) else { throw ValidationError("--rounds must be 3 to 10000") }
    }

    func run() throws {
        try reporting {
            let library = try runtime.load()
            var builder = ModelBuilder(recipe: try BuildRecipe(path: recipe), runtime: library)
            builder.rounds = rounds
            let outcome = try builder.build(into: ModelStore(root: store.store)) { Console.error($0) }
            var table = TextTable([("VARIANT", .left), ("BYTES", .right), ("AGREEMENT", .right), ("P99 ERROR", .right), ("AUC LOSS", .right), ("CPU", .right), ("HOT", .right), ("", .left)])
            func number(_ value: Double?) -> String { value.map { decimal($0, places: 4) } ?? "" }
            let base = outcome.attempts.first
            for item in outcome.attempts {
                func ratio(_ mine: Seconds?, _ theirs: Seconds?) -> String {
                    guard let mine, let theirs else { return "" }
                    return "\(mine) (\(decimal(mine / theirs, places: 2)))"
                }
                table.add([
                    item.id, String(item.bytes), number(item.report?.agreement), number(item.report?.p99Error), number(item.report?.aucLoss),
                    ratio(item.cpu, base?.cpu), ratio(item.hot, base?.hot), item.problems.isEmpty ? (item.isDominated ? "dominated" : "") : "left out: " + item.problems.joined(separator: "; "),
                ])
            }
            for search in outcome.searches { for line in search.lines { Console.out(line) } }
            for line in table.lines { Console.out(line) }
            for note in outcome.notes { Console.out("note: \(note)") }
            Console.out(outcome.recommendation)
            Console.out("\(outcome.bundle.directory): published; report.html lies beside the manifest")
        }
    }
}

/// `joulectl model publish`: takes a bundle's directory into a store.
struct ModelPublishCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "publish", abstract: "Publish a bundle's directory as the model's next version.",
        discussion: "Refuses a bundle with a variant that breaks a declared threshold (exit status 3).")
    @Argument(help: "A directory with model.toml and the variant files.", completion: .directory)
    var directory: String
    @OptionGroup var store: StoreOptions

    func run() throws {
        var isBroken = false
        try reporting {
            let bundle = try ModelBundle(directory: directory)
            for variant in bundle.manifest.variants {
                for phrase in bundle.manifest.brokenThresholds(of: variant) {
                    Console.error("joulectl: \(variant.name): \(phrase)")
                    isBroken = true
                }
            }
            if isBroken { return }
            var files: [String: [UInt8]] = [:]
            for variant in bundle.manifest.variants { files[variant.file] = try bundle.contents(of: variant) }
            let published = try ModelStore(root: store.store).publish(bundle.manifest, files: files)
            Console.out("\(published.directory): published")
        }
        if isBroken { throw limitBroken }
    }
}

/// `joulectl model list`.
struct ModelListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the bundles of a store.")
    @OptionGroup var store: StoreOptions

    func run() throws {
        try reporting {
            let listing = try ModelStore(root: store.store).list()
            var table = TextTable([("MODEL", .left), ("VERSION", .right), ("VARIANTS", .left), ("SUMMARY", .left)])
            for bundle in listing.bundles {
                table.add([bundle.manifest.name, String(bundle.manifest.version), bundle.manifest.variants.map(\.name).joined(separator: " "), bundle.manifest.summary])
            }
            for line in table.lines { Console.out(line) }
            for fault in listing.faults { Console.error("joulectl: \(fault.error)") }
        }
    }
}

/// `joulectl model show`.
struct ModelShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show a bundle of a store.")
    @Argument(help: "The model's name.")
    var model: String
    @Option(help: "The version; the newest if absent.")
    var version: Int?
    @OptionGroup var store: StoreOptions

    func run() throws {
        try reporting {
            let manifest = try ModelStore(root: store.store).load(model, version: version).manifest
            Console.out("\(manifest.name) \(manifest.version): \(manifest.summary)")
            Console.out("\(manifest.licence), from \(manifest.source)")
            var table = TextTable([("VARIANT", .left), ("BYTES", .right), ("AGREEMENT", .right), ("P99 ERROR", .right), ("AUC LOSS", .right), ("SCHEME", .left)])
            for variant in manifest.variants {
                let broken = manifest.brokenThresholds(of: variant)
                table.add([
                    variant.name, String(variant.bytes), decimal(variant.validation.agreement, places: 4), decimal(variant.validation.p99Error, places: 4),
                    variant.validation.aucLoss.map { decimal($0, places: 4) } ?? "", variant.scheme + (broken.isEmpty ? "" : " (unusable: \(broken.joined(separator: "; ")))"),
                ])
            }
            for line in table.lines { Console.out(line) }
        }
    }
}

/// `joulectl model remove`.
struct ModelRemoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "remove", abstract: "Remove one version of a model from a store.")
    @Argument(help: "The model's name.")
    var model: String
    @Option(help: "The version.")
    var version: Int
    @OptionGroup var store: StoreOptions

    func run() throws {
        try reporting {
            try ModelStore(root: store.store).remove(model, version: version)
            Console.out("\(model) \(version): removed")
        }
    }
}
