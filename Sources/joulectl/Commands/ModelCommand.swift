import ArgumentParser
import ModelStore
import Units

/// Work on model bundles, without a daemon.
struct ModelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "model", abstract: "Make, check and measure models and their bundles.",
        subcommands: [
            ModelQuantizeCommand.self, ModelValidateCommand.self, ModelInspectCommand.self, ModelProfileCommand.self,
            ModelImportCommand.self, ModelBuildCommand.self, ModelPublishCommand.self, ModelListCommand.self, ModelShowCommand.self,
            ModelRemoveCommand.self, Verify.self,
        ])

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Check manifest and digests of bundles.")
        @Argument(help: "Bundle directories: each has a model.toml.", completion: .directory)
        var bundles: [String]

        func run() throws {
            var failed = false
            for directory in bundles {
                do throws(JouledError) {
                    let bundle = try ModelBundle(directory: directory)
                    for variant in bundle.manifest.variants { try bundle.verify(variant) }
                    Console.out("\(directory): \(bundle.manifest.name) \(bundle.manifest.version), \(bundle.manifest.variants.count) variants, all digests right")
                } catch {
                    Console.error("joulectl: \(error)")
                    failed = true
                }
            }
            if failed { throw ExitCode(1) }
        }
    }
}
