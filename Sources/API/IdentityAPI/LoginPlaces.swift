import APISupport
import Identity
import Primitives

/// Bounds how many logins of one address and with one user's name are under way at once.
///
/// The hash of a password takes long, and few wait for it (`PasswordDesk.waitingMax`): with three quarters of these places
/// for one address at the most, and half for one name, nobody who tries passwords keeps all others out.
public struct LoginPlaces: Sendable {
    private let addresses: AddressLimit
    private let names: AddressLimit

    /// So many places for each address and for each user's name.
    public init(
        perAddress: Int = PasswordDesk.waitingMax * 3 / 4, perName: Int = PasswordDesk.waitingMax / 2
    ) {
        addresses = AddressLimit(perAddress, boundsLoopback: true)
        names = AddressLimit(perName, boundsLoopback: true)
    }

    /// Places that are taken for as long as they are held.
    struct Places {
        fileprivate var places: [AddressLimit.Place] = []
    }

    /// Places for a login that shows `proofs`; none, when nothing of it is hashed. Throws `APIError` 429.
    func take(for proofs: [AuthenticationRequest.Proof], from address: String) throws(APIError) -> Places {
        try take(names: proofs.compactMap(\.hashedName), from: address)
    }

    /// Places for the check of the passwords of `names`. Throws `APIError` 429.
    func take(names given: [String], from address: String) throws(APIError) -> Places {
        var taken = Places()
        guard !given.isEmpty else { return taken }
        guard let place = addresses.take(address) else {
            throw .tooManyRequests("Too many logins of your address are under way.")
        }
        taken.places.append(place)
        for name in given {
            guard let place = names.take(name) else {
                throw .tooManyRequests("Too many logins of this user are under way.")
            }
            taken.places.append(place)
        }
        return taken
    }
}

extension AuthenticationRequest.Proof {
    /// Whose password or secret has to be hashed, as the request names them; nil: nobody's.
    fileprivate var hashedName: String? {
        switch self {
        case .password(let user, _): user.text
        case .applicationCredential(.id(let id), _): id
        case .applicationCredential(.name(let name, let user), _): "\(user.text)\u{0}\(name)"
        case .passcode, .token, .accessToken: nil
        }
    }
}

extension AuthenticationRequest.UserReference {
    fileprivate var text: String {
        switch self {
        case .id(let id): id
        case .name(let name, .id(let domain)), .name(let name, .name(let domain)): "\(domain)\u{0}\(name)"
        }
    }
}
