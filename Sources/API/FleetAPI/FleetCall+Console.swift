import APISupport
import BareMetal
import FleetContract
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Identity
import NIOCore
import Primitives

extension FleetCall {
    /// How long a client may take to hang up after the last event.
    private static let farewell = Duration.seconds(5)

    /// The live console: lines of `ConsoleInput` come in while lines of `ConsoleEvent` go out, until one side ends.
    func attachConsole(_ note: inout AuditNote) async throws -> Response {
        let node = try node()
        let isViewing = try flag("view")
        let visit = ConsoleVisit(
            who: context.principal.description, from: context.remoteAddress, requestID: context.requestID,
            writes: !isViewing, takes: try flag("take"))
        let seat: ConsoleSeat
        do { seat = try await services.live.attachConsole(node, visit) } catch let error as NoConsole {
            throw APIError.notFound(error.publicMessage)
        } catch let error as UnknownBMC {
            throw APIError.conflict(error.publicMessage)
        } catch let error as BMCOfAnotherMachine {
            throw APIError.conflict(error.publicMessage)
        }
        note.summary = isViewing ? "console opened to look" : visit.takes ? "console taken over" : "console opened"
        let request = request
        let body = ResponseBody { writer in
            do {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        do { try await Self.read(request.body, seat) } catch {}
                        await seat.leave()
                    }
                    defer { group.cancelAll() }
                    for await event in seat.events { try await writer.write(Self.line(event)) }
                    // A client whose request is cut off before it has read the answer may lose the last event: it is given
                    // time to hang up by itself.
                    group.addTask { try await Task.sleep(for: Self.farewell) }
                    _ = try await group.next()
                }
            } catch {
                await seat.leave()
                throw error
            }
            await seat.leave()
            try await writer.finish(nil)
        }
        return Response(
            status: .ok, headers: [.contentType: "application/x-ndjson", .cacheControl: "no-store"], body: body)
    }

    /// Types what comes, line by line, until there is no more.
    private static func read(_ body: RequestBody, _ seat: ConsoleSeat) async throws {
        var rest = ByteBuffer()
        for try await part in body {
            rest.writeImmutableBuffer(part)
            while let end = rest.readableBytesView.firstIndex(of: UInt8(ascii: "\n")) {
                let line = rest.readBytes(length: end - rest.readerIndex) ?? []
                rest.moveReaderIndex(forwardBy: 1)
                guard !line.isEmpty else { continue }
                let input = try JSONDecoder().decode(ConsoleInput.self, from: Data(line))
                guard input.data.count <= ConsoleInput.sizeMax else { return }
                await seat.type(Array(input.data))
            }
            rest.discardReadBytes()
            guard rest.readableBytes <= ConsoleInput.lineLengthMax else { return }
        }
    }

    private static func line(_ event: ConsoleEvent) throws -> ByteBuffer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return ByteBuffer(bytes: try encoder.encode(event) + [UInt8(ascii: "\n")])
    }
}
