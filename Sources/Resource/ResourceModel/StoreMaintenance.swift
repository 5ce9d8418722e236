import Primitives

/// What an engine of this program must be told from time to time, because it starts nothing by itself.
public protocol StoreMaintenance: ResourceStore {
    /// Ends the leases whose time is over at `now` and deletes their documents, one commit a lease.
    func expireLeases(now: Timestamp) async throws(StoreError)

    /// Tells idle watches how far they have come.
    func sendBookmarks()
}
