import BareMetal
import Logging
import Primitives
import Redfish

/// Boots from images that the BMC or the firmware fetches.
extension RedfishDriver {
    /// The most drives that are looked at.
    private static let driveCountMax = 16

    public func boot(medium url: String) async throws(BMCError) {
        try await call { session throws(BMCError) in
            guard let drive = try await drives(session).first else {
                throw .unsupported("it has no virtual CD drive; set 'boot: network' for it in the site file")
            }
            if drive.media.isInserted { try await eject(drive, session) }
            guard let insert = drive.media.insert else {
                throw .unsupported("its virtual drive \(drive.path) takes no media over the network")
            }
            var answer = try await session.send(.insertMedia(insert, image: url))
            if [400, 422].contains(answer.response.status) {
                answer = try await session.send(.insertMedia(insert, image: url, brief: true))
            }
            try session.check(try await session.finish(answer))
            try await confirmInserted(drive.path, session)
            try await setOverride(.medium, once: true, session)
        }
    }

    public func boot(http url: String) async throws(BMCError) {
        try await call { session throws(BMCError) in
            try await setOverride(.http, uri: url, once: true, session)
        }
    }

    public func eject(medium url: String) async throws(BMCError) {
        try await call { session throws(BMCError) in
            // Services may leave out parts of the URL that they think secret; the path is what names the medium.
            let wanted = Self.path(of: url)
            for drive in try await drives(session) where drive.media.isInserted {
                guard let image = drive.media.image, Self.path(of: image) == wanted else { continue }
                try await eject(drive, session)
            }
        }
    }

    private struct Drive {
        var path: ResourcePath
        var media: VirtualMedia
    }

    private static func path(of url: String) -> Substring {
        guard let end = url.firstRange(of: "://") else { return url[...] }
        return url[end.upperBound...].drop { $0 != "/" }
    }

    /// The optical drives of the system, else of its BMC: older services have them there.
    private func drives(_ session: RedfishSession) async throws(BMCError) -> [Drive] {
        let system = try await system(session).resource
        var collections = [system.virtualMedia].compactMap(\.self)
        if collections.isEmpty {
            for manager in system.managers.prefix(2) {
                let found = try await optional { () throws(BMCError) in
                    try await session.read(ManagementController.self, at: manager).resource.virtualMedia
                }
                if let path = found ?? nil { collections.append(path) }
            }
        }
        var drives: [Drive] = []
        for collection in collections {
            let members = try await session.read(ResourceCollection.self, at: collection).resource.members
            for path in members.prefix(Self.driveCountMax) {
                let media = try await optional { () throws(BMCError) in
                    try await session.read(VirtualMedia.self, at: path).resource
                }
                if let media, media.isOptical { drives.append(Drive(path: path, media: media)) }
            }
        }
        return drives
    }

    private func eject(_ drive: Drive, _ session: RedfishSession) async throws(BMCError) {
        guard let action = drive.media.eject else { return }
        let answer = try await session.finish(try await session.send(.ejectMedia(action)))
        // What is not there any more is ejected.
        if [400, 404, 409].contains(answer.response.status) {
            let now = try await session.read(VirtualMedia.self, at: drive.path).resource
            if !now.isInserted { return }
        }
        try session.check(answer)
    }

    /// Reads the drive back: there are services that answer well and have nothing in it.
    private func confirmInserted(_ path: ResourcePath, _ session: RedfishSession) async throws(BMCError) {
        for attempt in 0..<3 {
            if attempt > 0 {
                do { try await Task.sleep(for: limits.backoff * (1 << attempt)) } catch { throw .cancelled }
            }
            if try await session.read(VirtualMedia.self, at: path).resource.isInserted { return }
        }
        throw .refused("it took the order to insert a medium, but \(path) tells that none is in it")
    }
}
