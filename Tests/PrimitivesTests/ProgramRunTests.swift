import Glibc
import Primitives
import ProgramRuns
import Testing

/// Programs that are run: what they get, what bounds them, and what comes of them.
@Suite struct ProgramRunTests {
    private func shell(_ script: String, patience: Duration = .seconds(30), outputMax: Int = 1 << 20) -> ProgramRun {
        ProgramRun("/bin/sh", ["-c", script], patience: patience, outputMax: outputMax)
    }

    @Test func endsAndOutputsAreToldApart() async throws {
        let fine = try shell("echo out; echo err >&2; exit 3").run()
        #expect(fine.status == 3 && fine.output == Array("out\n".utf8) && fine.errors == Array("err\n".utf8))
        #expect(fine.words == "err")
        #expect(try shell("kill -9 $$").run().status == 137)
        #expect(try await shell("echo there").finish().output == Array("there\n".utf8))
        #expect(try ProgramRun("true", []).run().status == 0, "by its name")
    }

    @Test func inputIsReadToItsEndAndStandsNowhereElse() throws {
        let text = String(repeating: "secret ", count: 500)
        var run = shell("cat; tr '\\0' ' ' < /proc/$$/cmdline >&2; env >&2")
        run.input = SecretText(text)
        let outcome = try run.run()
        #expect(String(decoding: outcome.output, as: UTF8.self) == text)
        #expect(!String(decoding: outcome.errors, as: UTF8.self).contains("secret"))
        // A program may open it by name, and need not read it at all.
        run = shell("cat /dev/stdin")
        run.input = SecretText("by name")
        #expect(try run.run().words == "by name")
        run = shell("exit 0")
        run.input = SecretText(text)
        #expect(try run.run().status == 0)
        #expect(try shell("cat").run().output.isEmpty, "without one there is nothing to read")
        run.input = SecretText(String(repeating: "x", count: ProgramRun.inputMax + 1))
        #expect(throws: ProgramError.system("sh", E2BIG)) { try run.run() }
    }

    @Test func whatIsNotThereIsTold() async {
        for name in ["/nowhere/at-all", "no-such-program-at-all"] {
            let error = #expect(throws: ProgramError.self) { try ProgramRun(name, []).run() }
            #expect(error?.why == "it is not installed")
        }
        let error = #expect(throws: ProgramError.self) { try ProgramRun("/etc/passwd", []).run() }
        #expect(error == .system("passwd", EACCES))
        await #expect(throws: ProgramError.notInstalled("at-all")) {
            try await ProgramRun("/nowhere/at-all", []).finish()
        }
    }

    @Test func timeAndOutputAreBounded() throws {
        let long = #expect(throws: ProgramError.self) {
            try shell("sleep 60 & sleep 60", patience: .milliseconds(200)).run()
        }
        #expect(long?.publicMessage == "Could not run sh: it took more than 200 ms.")
        let much = #expect(throws: ProgramError.self) { try ProgramRun("/usr/bin/yes", [], outputMax: 100_000).run() }
        #expect(much == .tooMuchOutput("yes", 100_000))
        // What it leaves behind, with the pipe open, holds nothing up.
        let left = try shell("sleep 3 & echo $!").run()
        #expect(left.status == 0)
        if let pid = pid_t(left.words) { kill(pid, SIGKILL) }
    }

    @Test func itsWholeSessionIsKilled() throws {
        let file = "/tmp/muster-program-\(getpid())"
        defer { unlink(file) }
        #expect(throws: ProgramError.self) {
            try shell("sleep 300 & echo $! > \(file).new; mv \(file).new \(file); wait", patience: .seconds(2)).run()
        }
        let text = try ProgramRun("/bin/cat", [file]).run().words
        let pid = try #require(pid_t(text))
        // It is dead, or waits to be collected by whoever does that on this host.
        let state = try ProgramRun("/bin/sh", ["-c", "cat /proc/\(pid)/stat 2>/dev/null || true"]).run().words
        #expect(state.isEmpty || state.contains(") Z "), "\(state)")
    }

    @Test func aCancelledTaskKillsIt() async throws {
        let clock = ContinuousClock()
        let start = clock.now
        let task = Task { try await shell("sleep 300 & sleep 300", patience: .seconds(300)).finish() }
        task.cancel()
        await #expect(throws: ProgramError.cancelled("sh")) { try await task.value }
        #expect(clock.now - start < .seconds(60))
        let stop = try ProgramStop("sh")
        stop.stop()
        #expect(throws: ProgramError.cancelled("sh")) { try shell("sleep 300").run(until: stop) }
    }

    @Test func nothingOfThisProcessIsPassedOn() throws {
        let open = try ProgramRun("/bin/ls", ["/proc/self/fd"]).run()
        #expect(String(decoding: open.output, as: UTF8.self).split(separator: "\n").count == 4, "0, 1, 2 and ls' own")
        // The C library keeps two signals for itself, 32 and 33, which nobody can set.
        let script = """
            while read -r name value; do case $name in SigIgn:|SigBlk:) echo $((0x$value & 0x7fffffff));; esac; done \
            < /proc/self/status
            """
        #expect(try shell(script).run().output == Array("0\n0\n".utf8))
        setenv("MUSTER_PROGRAM_TEST", "1", 1)
        defer { unsetenv("MUSTER_PROGRAM_TEST") }
        let run = ProgramRun(
            "/usr/bin/env", [], variables: ["PLAIN": "a b"], secrets: ["PASSWORD": SecretText("geheim")])
        let lines = String(decoding: try run.run().output, as: UTF8.self).split(separator: "\n").map(String.init)
        #expect(Set(lines.map { $0.prefix { $0 != "=" } }) == ["PATH", "LC_ALL", "PLAIN", "PASSWORD"])
        #expect(lines.contains("PASSWORD=geheim") && lines.contains("PLAIN=a b") && lines.contains("LC_ALL=C"))
        #expect(!"\(run)".contains("geheim"))
    }

    @Test func manyRunAtOnceAndNoDescriptorIsLeft() async throws {
        func count() throws -> Int { try #require(openDescriptors()) }
        _ = try await shell("true").finish()
        let before = try count()
        try await withThrowingTaskGroup(of: Int32.self) { group in
            for number in 0..<40 { group.addTask { try await shell("exit \(number)").finish().status } }
            var seen: Set<Int32> = []
            for try await status in group { seen.insert(status) }
            #expect(seen == Set(0..<40))
        }
        // Other tests of this process open some of their own; forty runs would leave over a hundred.
        #expect(try count() < before + 40)
    }

    private func openDescriptors() -> Int? {
        guard let folder = opendir("/proc/self/fd") else { return nil }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        return count
    }
}
