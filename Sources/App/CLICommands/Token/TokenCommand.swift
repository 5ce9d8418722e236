import ArgumentParser
import CatalogIdentity
import ClientSDK
import FleetContract
import Primitives

struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Give operators tokens, replace and revoke them.",
        subcommands: [TokenList.self, TokenCreate.self, TokenRotate.self, TokenRevoke.self])
}

extension OperatorRole: ExpressibleByArgument {}

struct TokenList: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the operators and whether their tokens are taken.")

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let tokens = try await client.tokens()
        if terminal.isJSON { return terminal.json(RecordList(items: tokens)) }
        for line in Self.table(tokens, now: terminal.clock.now).lines(for: terminal) { terminal.print(line) }
    }

    static func table(_ tokens: [TokenRecord], now: Timestamp) -> Table {
        var table = Table([
            .init("NAME", priority: 1), .init("ROLE", priority: 1), .init("TOKEN", priority: 2, least: 12),
            .init("REPLACED", priority: 3), .init("ENDS", priority: 4),
        ])
        table.rows = tokens.map { token in
            [
                .init(token.name, .bold), .init(token.role.rawValue), state(token, now),
                .init(token.rotated.map { "\(Ages.since($0, now: now)) ago" } ?? "-"),
                .init(token.expires.map { Ages.until($0, now: now) } ?? "never"),
            ]
        }
        return table
    }

    private static func state(_ token: TokenRecord, _ now: Timestamp) -> Table.Cell {
        if let revoked = token.revoked { return .init("revoked \(Ages.since(revoked, now: now)) ago", .red) }
        if let expires = token.expires, expires <= now { return .init("has ended", .red) }
        guard let ends = token.previousEnds, ends > now else { return .init("taken", .green) }
        return .init("taken; the one before ends \(Ages.until(ends, now: now))", .yellow)
    }
}

/// Where a new token goes.
struct NewToken: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Write the token into this file (mode 0600) instead of showing it.", valueName: "file"))
    var into: String?

    /// Shows the token, or writes it to the file; one that cannot be written is shown all the same, since nobody else has it.
    func show(_ reply: TokenReply, _ terminal: Terminal, saying words: String) throws {
        var failure: TextFile.Unreadable?
        if let into {
            do { try TextFile.replace(into, with: reply.token + "\n", mode: 0o600) } catch { failure = error }
        }
        let file = failure == nil ? into : nil
        if terminal.isJSON {
            var shown = reply
            if file != nil { shown.token = "" }
            terminal.json(shown)
        } else {
            terminal.print(words)
            terminal.print(file.map { "It is in \($0)." } ?? "It is shown here and nowhere else:\n\n  \(reply.token)\n")
        }
        if let failure { throw Failure(message: "\(failure.publicMessage). The token is shown instead.") }
    }
}

struct TokenCreate: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Make a token for an operator who has none in force.")

    @Argument(help: ArgumentHelp("The operator's name.", valueName: "name"))
    var name: String

    @Option(help: "What its holder may do: admin, member or reader.")
    var role: OperatorRole

    @Option(help: ArgumentHelp("After what time it ends, such as 90d; else never.", valueName: "duration"))
    var expires: String?

    @OptionGroup var token: NewToken
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let life = try expires.map { (text) throws(InvalidValue) in try Ages.parse(text) }
        let reply = try await client.createToken(
            name, CreateTokenRequest(role: role, lifeSeconds: life.map { Int($0.milliseconds / 1000) }))
        try token.show(reply, terminal, saying: "\(name) has a token (\(role.rawValue)).")
    }
}

struct TokenRotate: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate", abstract: "Replace an operator's token.",
        discussion: """
            The one before is void at once, in browsers too, unless --grace says for how long it is still taken; give that \
            with your own, in case the answer does not reach you. The token of 'admin' also stands in operator.token of the conductor's state directory: that file's is not taken any more \
            once it was replaced. Put the new one there with --into, or delete the file and start the conductor again to \
            get yet another.
            """)

    @Argument(help: ArgumentHelp("The operator's name.", valueName: "name"))
    var name: String

    @Option(
        help: ArgumentHelp(
            "For how long the one before is taken too, such as 1h; at most 7d. Else not at all.", valueName: "duration")
    )
    var grace: String?

    @OptionGroup var token: NewToken
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let seconds = try grace.map { (text) throws(InvalidValue) in Int(try Ages.parse(text).milliseconds / 1000) }
        let reply = try await client.rotateToken(name, RotateTokenRequest(graceSeconds: seconds))
        let before = reply.previousEnds.map { "is taken until \($0)" } ?? "is void"
        try token.show(reply, terminal, saying: "\(name) has another token; the one before \(before).")
    }
}

struct TokenRevoke: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke", abstract: "Make an operator's token void at once.")

    @Argument(help: ArgumentHelp("The operator's name.", valueName: "name"))
    var name: String

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let reply = try await client.revokeToken(name)
        if terminal.isJSON { return terminal.json(reply) }
        terminal.print(reply.message)
    }
}
