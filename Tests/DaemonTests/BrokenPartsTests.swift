import Glibc
import JouledTestKit
import Testing
import Units
import Wire

@Suite("Broken models, libraries, policies and batteries are named, while streams go on")
struct BrokenPartsTests {
    /// A daemon on a copy of the bundles in which `break` has spoilt the ECG's.
    private func daemon(_ spoil: (BundleCopies) throws -> Void) throws -> DaemonHarness {
        let directory = TemporaryDirectory()
        let bundles = try BundleCopies(in: directory)
        try spoil(bundles)
        var settings = DaemonHarness.Settings()
        settings.models = bundles.path
        return try DaemonHarness(settings, in: directory)
    }

    private func refusal(_ daemon: DaemonHarness, _ parameters: JSONObject = [:]) throws -> (name: String, reason: String) {
        var all: JSONObject = ["model": "ecg-rhythm", "sampleRateHz": 100]
        for member in parameters.members { all[member.key] = member.value }
        let call: JSONValue = ["method": "io.jouled.Streams.Open", "parameters": .object(all), "upgrade": true]
        let reply = try RawSocket(daemon).call(call.description)
        return (reply["error"]?.stringValue ?? "none", reply["parameters"]?["reason"]?.stringValue ?? "\(reply)")
    }

    @Test("A wrong digest: that variant is never run; the others are")
    func digest() throws {
        let daemon = try daemon { bundles in
            // One byte of the weights of the variant that is chosen first.
            var bytes = try #require(TemporaryDirectory.contents(of: bundles.path + "/ecg-rhythm/1/fp32.onnx"))
            bytes[bytes.count / 2] ^= 1
            bundles.directory.write("models/ecg-rhythm/1/fp32.onnx", bytes)
        }
        let bystander = try Bystander(daemon)
        for _ in 0..<2 {
            let pinned = try refusal(daemon, ["variant": "fp32"])
            #expect(pinned.name == "io.jouled.Streams.ModelUnavailable")
            #expect(pinned.reason.contains("fp32.onnx") && pinned.reason.contains("sha256"), "\(pinned.reason)")
            try bystander.goOn()
        }
        #expect(daemon.journalHas("Variant fp32 of ecg-rhythm failed", "fp32.onnx"))
        let stream = try TestStream.ecg(daemon)
        try stream.send(try Reference.ecg()[..<40_000])
        try stream.finish()
        #expect(stream.windows.count == 91)
        #expect(stream.windows.allSatisfy { $0.variant != "fp32" && !$0.variant.isEmpty })
        try bystander.verify()
    }

    @Test("A truncated ONNX file with the right digest: ONNX Runtime's own words, each time")
    func truncated() throws {
        let daemon = try daemon { bundles in
            for variant in try Installation.variants("ecg-rhythm") {
                let whole = try #require(TemporaryDirectory.contents(of: bundles.path + "/ecg-rhythm/1/\(variant).onnx"))
                let half = Array(whole.prefix(whole.count / 2))
                bundles.directory.write("models/ecg-rhythm/1/\(variant).onnx", half)
                try bundles.restate("ecg-rhythm", variant, half)
            }
        }
        let bystander = try Bystander(daemon)
        for _ in 0..<2 {
            let (name, reason) = try refusal(daemon)
            #expect(name == "io.jouled.Streams.ModelUnavailable")
            #expect(reason.contains(".onnx: cannot be loaded") && reason.contains("ONNX Runtime error"), "\(reason)")
            try bystander.goOn()
        }
        try bystander.verify()
    }

    @Test("A manifest with a typo: file, line and key, for the client, the journal and joulectl models")
    func manifest() throws {
        let daemon = try daemon { try $0.edit("ecg-rhythm", "hop = 100", "hopp = 100") }
        #expect(daemon.journalHas("ecg-rhythm/1/model.toml:", "window.hop"))
        let bystander = try Bystander(daemon)
        let (name, reason) = try refusal(daemon)
        #expect(name == "io.jouled.Streams.ModelUnavailable")
        #expect(reason.contains("ecg-rhythm/1/model.toml:") && reason.contains("hop"), "\(reason)")
        let listed = try daemon.call("io.jouled.Models.List")
        #expect(listed["problems"]?[0]?.stringValue?.contains("model.toml") == true, "\(listed)")
        let status = try daemon.call("io.jouled.Power.GetStatus")["status"]
        #expect(status?["problems"]?[0]?.stringValue?.contains("model.toml") == true)
        try bystander.verify()
    }

    @Test("A model that is not what its manifest says: the tensor and both shapes")
    func contract() throws {
        let daemon = try daemon { try $0.edit("ecg-rhythm", "shape = [1, 4]", "shape = [1, 5]"); try $0.edit("ecg-rhythm", "\"noise\"]", "\"noise\", \"x\"]") }
        let (name, reason) = try refusal(daemon)
        #expect(name == "io.jouled.Streams.ModelUnavailable")
        #expect(reason.contains("probabilities") && reason.contains("[1, 4]") && reason.contains("[1, 5]"), "\(reason)")
    }

    @Test("No library, and one that is not ONNX Runtime: the daemon serves all but streams, and says why")
    func library() throws {
        for (path, words) in [("/nonexistent/libonnxruntime.so", ["/nonexistent/libonnxruntime.so", "No such file"]), ("/proc/self/exe", ["/proc/self/exe"])] {
            let daemon = try DaemonHarness { $0.runtime = path }
            for _ in 0..<2 {
                let (name, reason) = try refusal(daemon)
                #expect(name == "io.jouled.Streams.ModelUnavailable")
                for word in words { #expect(reason.contains(word), "\(reason)") }
            }
            let (status, _, error) = try daemon.run(["stream", "silero-vad"])
            #expect(status == 1)
            #expect(error.contains(path), "\(error)")
            #expect(try daemon.call("io.jouled.Power.GetStatus")["status"] != nil)
        }
    }

    @Test("A policy with a typo: file, line and key; the one in force stays, by Set, Reload and SIGHUP")
    func policy() throws {
        let daemon = try DaemonHarness { settings in
            settings.policies["typo"] = "kind = \"fixed\"\n# a comment\nwats = 1.0\n"
        }
        let bystander = try Bystander(daemon)
        let (status, _, error) = try daemon.run(["policy", "set", "typo"])
        #expect(status == 1)
        #expect(error.contains("policies/typo.toml") && error.contains("watts"), "\(error)")
        #expect(daemon.journalHas("Policy refused", "typo.toml"))
        #expect(try daemon.call("io.jouled.Power.GetStatus")["status"]?["policy"] == "unlimited")

        daemon.directory.write("policies/unlimited.toml", "kind = \"unlimited\"\n\nmargn = 0.5\n")
        let reload = try daemon.run(["policy", "reload"])
        #expect(reload.status == 1)
        #expect(reload.error.contains("unlimited.toml:3") && reload.error.contains("margn"), "\(reload.error)")
        daemon.directory.write("policies/unlimited.toml", "kind = \"unlimited\"\n\n\nmargin = oops\n")
        daemon.process.signal(SIGHUP)
        #expect(daemon.journalHas("Policy refused", "unlimited.toml:4"))
        try bystander.goOn()
        #expect(try daemon.call("io.jouled.Power.GetStatus")["status"]?["budgetWatts"]?.isNull != false)
        let shown = try daemon.run(["policy", "show"])
        #expect(shown.out.contains("unlimited.toml:4"), "\(shown.out)")
        try bystander.verify()
    }

    @Test("joulectl check-config names file, line and key, and needs no daemon")
    func checkConfig() throws {
        let daemon = try DaemonHarness()
        daemon.directory.write("bad.toml", "[socket]\npath = \"/x\"\npth = 1\n")
        let result = try Subprocess(Installation.joulectl, ["check-config", daemon.directory("bad.toml")], error: daemon.directory("check"))
        #expect(result.wait(atMost: Seconds(20)) == 1)
        let text = daemon.directory.text(of: "check")
        #expect(text.contains("bad.toml:3") && text.contains("pth"), "\(text)")
    }

    @Test("joulectl check-config finds what the policy table names, or says where it is named")
    func checkPolicies() throws {
        let directory = TemporaryDirectory()
        directory.write("policies/low.toml", "kind = \"fixed\"\nwatts = 1\n")
        let good = "directory = \"\(directory("policies"))\"\nactive = \"low\"\n"
        let cases: [(text: String, words: String?)] = [
            ("[policy]\n" + good, nil), ("[limits]\nstreams = 3\n", nil),
            ("[policy]\n" + good.replacing("\"low\"", with: "\"lwo\""), "c.toml:3: key 'policy.active': no policy 'lwo' (\(directory("policies"))/lwo.toml); there are low"),
            ("\n[policy]\n" + good.replacing("policies", with: "polices"), "c.toml:3: key 'policy.directory': no directory \(directory("polices"))"),
            ("[policy]\ndirectory = \"\(directory("policies/low.toml"))\"\n", "c.toml:2: key 'policy.directory': no directory"),
            // What is not written takes the line of its table.
            ("\n[policy]\ndirectory = \"\(directory("policies"))\"\n", "c.toml:2: key 'policy.active': no policy 'lifetime'"),
        ]
        for (text, words) in cases {
            directory.write("c.toml", text)
            let result = try Subprocess(Installation.joulectl, ["check-config", directory("c.toml")], output: directory("out"), error: directory("check"))
            #expect(result.wait(atMost: Seconds(20)) == (words == nil ? 0 : 1))
            let said = directory.text(of: "check")
            #expect(words.map { said.contains($0) } ?? said.isEmpty, "\(text): \(said)")
        }
    }

    @Test("A runtime library that is not there is told at start")
    func absentLibrary() throws {
        let daemon = try DaemonHarness { $0.runtime = "/nonexistent/libonnxruntime.so" }
        #expect(daemon.journalHas("/nonexistent/libonnxruntime.so: No such file or directory; no model can be served"))
    }

    @Test("A configuration with a typo keeps the daemon from starting, and is named", arguments: ["[limits]\nstrems = 3", "[limits]\nstreams = \"many\"", "nonsense"])
    func configuration(text: String) throws {
        let daemon = try DaemonHarness { settings in
            settings.more = text
            settings.waits = false
        }
        #expect(daemon.process.wait(atMost: Seconds(10)) == 1)
        #expect(daemon.journal.contains("jouled cannot start") && daemon.journal.contains("jouled.toml:"), "\(daemon.journal)")
    }

    @Test("A battery that tells nonsense is named in status and journal, and streams go on")
    func battery() throws {
        let sysfs = FakeSysfs.laptop()
        let daemon = try DaemonHarness { settings in
            settings.power = "source = \"sysfs\"\nsysfs_root = \"\(sysfs.path)\"\npoll = \"100ms\""
            settings.policies["tight"] = "kind = \"lifetime\"\nduration = \"8h\"\n"
        }
        let bystander = try Bystander(daemon)
        let battery = { try daemon.call("io.jouled.Power.GetStatus")["status"]?["battery"] }
        #expect(try battery()?["charge"]?.doubleValue == 0.5)
        try daemon.setPolicy("unlimited")
        let attribute = "class/power_supply/BAT0/energy_now"
        for nonsense in ["garbage", "-9223372036854775808", "99999999999999999999", ""] {
            sysfs.write(attribute, nonsense)
            #expect(
                try eventually { try battery()?["problems"]?.arrayValue?.contains { $0.stringValue?.contains("BAT0/energy_now") == true } == true },
                "'\(nonsense)'")
            try bystander.goOn()
        }
        #expect(daemon.journalHas("BAT0/energy_now"))
        for file in ["energy_now", "energy_full", "energy_full_design", "capacity", "power_now", "voltage_now", "status", "type"] {
            sysfs.write("class/power_supply/BAT0/\(file)", bytes: [0xFF, 0xFE, 0x00, 0x41])
        }
        sysfs.write("class/power_supply/AC/online", "7")
        try bystander.goOn()
        // Even a policy that lives by the battery must not fall over it.
        try daemon.setPolicy("tight")
        #expect(try daemon.call("io.jouled.Power.GetStatus")["status"]?["policy"] == "tight")
        try daemon.setPolicy("unlimited")
        #expect(daemon.journalHas("AC/online"))
        sysfs.write("class/power_supply/BAT0/type", "Battery")
        sysfs.write("class/power_supply/AC/online", "0")
        for (file, value) in [("energy_now", "10000000"), ("energy_full", "50000000"), ("capacity", "20"), ("status", "Discharging")] {
            sysfs.write("class/power_supply/BAT0/\(file)", value)
        }
        #expect(try eventually { try battery()?["charge"]?.doubleValue == 0.2 }, "it is believed again once it makes sense")
        try bystander.verify()
    }
}
