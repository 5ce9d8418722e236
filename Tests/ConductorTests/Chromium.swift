import Foundation
import Glibc
import TestSupport

/// A browser without a window, driven over its debugging pipe (Chrome DevTools Protocol); gone with `close`.
actor Chromium {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private let process = Process()
    private let directory: TemporaryDirectory
    private let input: Int32
    private let output: Int32
    private var buffer: [UInt8] = []
    private var lastID = 0
    private var session: String?
    /// What pages have complained about: exceptions, errors on the console, refused resources.
    private(set) var complaints: [String] = []
    private var loadCount = 0

    init() throws {
        directory = try TemporaryDirectory("chromium")
        let pipes = (commands: directory.appending("commands"), answers: directory.appending("answers"))
        guard mkfifo(pipes.commands, 0o600) == 0, mkfifo(pipes.answers, 0o600) == 0 else {
            throw Failure(description: "mkfifo: \(errno)")
        }
        // Both ends are opened here first, so that the shell does not wait; with this process they are closed, and
        // the browser ends itself.
        input = Glibc.open(pipes.commands, O_RDWR | O_CLOEXEC)
        output = Glibc.open(pipes.answers, O_RDWR | O_CLOEXEC | O_NONBLOCK)
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        let options = [
            "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--user-data-dir=\(directory.path)/profile",
            "--no-first-run", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--disable-breakpad", "--disable-dev-shm-usage", "--hide-scrollbars",
            "--force-color-profile=srgb", "about:blank",
        ]
        process.arguments =
            [
                "-c", "exec chromium \"$@\" 3<\(pipes.commands) 4>\(pipes.answers)", "chromium",
            ] + options
        process.environment = ["PATH": "/usr/bin:/bin", "HOME": directory.path, "LANG": "C.UTF-8", "TZ": "UTC"]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
    }

    /// Opens a page of this size and starts to listen to it.
    func open(width: Int, height: Int, isDark: Bool = false) async throws {
        let target = try await call("Target.createTarget", ["url": "about:blank"])
        let attached = try await call(
            "Target.attachToTarget", ["targetId": target["targetId"] ?? "", "flatten": true])
        session = attached["sessionId"] as? String
        for domain in ["Page", "Runtime", "Log", "Network"] { _ = try await call("\(domain).enable", [:]) }
        let isPhone = width < 600
        _ = try await call(
            "Emulation.setDeviceMetricsOverride",
            ["width": width, "height": height, "deviceScaleFactor": isPhone ? 2 : 1, "mobile": isPhone])
        _ = try await call(
            "Emulation.setEmulatedMedia",
            ["features": [["name": "prefers-color-scheme", "value": isDark ? "dark" : "light"]]])
    }

    /// Goes to `url` and returns when the page has loaded.
    func go(_ url: String) async throws {
        let before = loadCount
        let answer = try await call("Page.navigate", ["url": url])
        if let text = answer["errorText"] as? String { throw Failure(description: "\(url): \(text)") }
        try await loaded(after: before)
    }

    /// Runs `action`, which leads to another page, and returns when that has loaded.
    func leave(by action: String) async throws {
        let before = loadCount
        _ = try await evaluate(action)
        try await loaded(after: before)
    }

    private func loaded(after count: Int) async throws {
        let deadline = ContinuousClock.now.advanced(by: .seconds(60))
        while loadCount == count {
            guard ContinuousClock.now < deadline else { throw Failure(description: "the page does not load") }
            if try receive() == nil { try await Task.sleep(for: .milliseconds(5)) }
        }
    }

    /// What the expression is as a text.
    func evaluate(_ expression: String) async throws -> String {
        let answer = try await call(
            "Runtime.evaluate",
            ["expression": "String(\(expression))", "returnByValue": true, "awaitPromise": true, "userGesture": true])
        if let problem = answer["exceptionDetails"] { throw Failure(description: "\(expression): \(problem)") }
        return (answer["result"] as? [String: Any])?["value"] as? String ?? ""
    }

    /// Returns when the expression is `true`.
    func wait(for expression: String) async throws {
        let deadline = ContinuousClock.now.advanced(by: .seconds(30))
        while try await evaluate(expression) != "true" {
            guard ContinuousClock.now < deadline else { throw Failure(description: "not true: \(expression)") }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// The page as a PNG, all of it.
    func screenshot() async throws -> [UInt8] {
        let answer = try await call("Page.captureScreenshot", ["format": "png", "captureBeyondViewport": true])
        return [UInt8](Data(base64Encoded: answer["data"] as? String ?? "") ?? Data())
    }

    /// Presses a key in the page.
    func press(_ key: String) async throws {
        for type in ["keyDown", "keyUp"] {
            var parameters: [String: Any] = ["type": type, "key": key]
            if key.count == 1, type == "keyDown" { parameters["text"] = key }
            if key == "Tab" { parameters["windowsVirtualKeyCode"] = 9 }
            _ = try await call("Input.dispatchKeyEvent", parameters)
        }
    }

    /// Ends the browser and all that it has started.
    func close() async {
        session = nil
        _ = try? await call("Browser.close", [:])
        for _ in 0..<500 where process.isRunning { try? await Task.sleep(for: .milliseconds(10)) }
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
        Glibc.close(input)
        Glibc.close(output)
    }

    private func call(_ method: String, _ parameters: [String: Any]) async throws -> [String: Any] {
        lastID += 1
        let id = lastID
        var message: [String: Any] = ["id": id, "method": method, "params": parameters]
        if let session, !method.hasPrefix("Target."), !method.hasPrefix("Browser.") { message["sessionId"] = session }
        var bytes = [UInt8](try JSONSerialization.data(withJSONObject: message)) + [0]
        while !bytes.isEmpty {
            let count = write(input, bytes, bytes.count)
            guard count > 0 else { throw Failure(description: "\(method): the browser is gone") }
            bytes.removeFirst(count)
        }
        let deadline = ContinuousClock.now.advanced(by: .seconds(60))
        while ContinuousClock.now < deadline {
            guard let answer = try receive() else {
                guard process.isRunning else { throw Failure(description: "\(method): the browser has ended") }
                try await Task.sleep(for: .milliseconds(5))
                continue
            }
            guard answer["id"] as? Int == id else { continue }
            if let error = answer["error"] { throw Failure(description: "\(method): \(error)") }
            return answer["result"] as? [String: Any] ?? [:]
        }
        throw Failure(description: "\(method): no answer")
    }

    /// The next message; nil when none is there. Notes what pages complain about.
    private func receive() throws -> [String: Any]? {
        while true {
            if let end = buffer.firstIndex(of: 0) {
                let message = try JSONSerialization.jsonObject(with: Data(buffer[..<end])) as? [String: Any] ?? [:]
                buffer.removeSubrange(...end)
                note(message)
                return message
            }
            var chunk = [UInt8](repeating: 0, count: 1 << 16)
            let count = read(output, &chunk, chunk.count)
            guard count > 0 else { return nil }
            buffer += chunk[..<count]
        }
    }

    private func note(_ message: [String: Any]) {
        let parameters = message["params"] as? [String: Any] ?? [:]
        switch message["method"] as? String {
        case "Page.loadEventFired": loadCount += 1
        case "Runtime.exceptionThrown": complaints.append("\(parameters)")
        case "Runtime.consoleAPICalled" where ["error", "warning", "assert"].contains(parameters["type"] as? String):
            complaints.append("\(parameters)")
        case "Log.entryAdded":
            let entry = parameters["entry"] as? [String: Any] ?? [:]
            if ["error", "warning"].contains(entry["level"] as? String) { complaints.append("\(entry)") }
        default: break
        }
    }
}
