//! The initial content of the retailer's database: places, categories, chains, and the numbers of customers
//! in each (documented counts of Wide World Importers).

/// Postal code, name, sales territory and three cities of each state. `Massachusetts[E]` is the original's
/// spelling.
pub const STATES: [(&str, &str, Territory, [&str; 3]); 53] = {
    use Territory::{
        External, FarWest, GreatLakes, Mideast, NewEngland, Plains, RockyMountain, Southeast, Southwest,
    };
    [
        ("AL", "Alabama", Southeast, ["Abernant", "Belgreen", "Coker"]),
        ("AK", "Alaska", FarWest, ["Nome", "Bethel", "Kodiak"]),
        ("AZ", "Arizona", Southwest, ["Arizona City", "Cherry Creek", "Tubac"]),
        ("AR", "Arkansas", Southeast, ["Amity", "Booneville", "Heber Springs"]),
        ("CA", "California", FarWest, ["Bonadelle Ranchos", "Jamison", "Lytle Creek"]),
        ("CO", "Colorado", RockyMountain, ["Lime Lake", "Severance", "Wray"]),
        ("CT", "Connecticut", NewEngland, ["East Mountain", "Norfolk", "Sharon"]),
        ("DE", "Delaware", Mideast, ["Dewey Beach", "Odessa", "Viola"]),
        ("DC", "District of Columbia", Mideast, ["Georgetown", "Brookland", "Anacostia"]),
        ("FL", "Florida", Southeast, ["Ashford", "Sallyards", "Olivette"]),
        ("GA", "Georgia", Southeast, ["Bowlus", "Premont", "Tiger"]),
        ("HI", "Hawaii", FarWest, ["Hana", "Keaau", "Lanai City"]),
        ("ID", "Idaho", RockyMountain, ["Idria", "Stanley", "Weippe"]),
        ("IL", "Illinois", GreatLakes, ["Peeples Valley", "Ottawa", "Galena"]),
        ("IN", "Indiana", GreatLakes, ["Indian Creek", "Brazil", "Salem"]),
        ("IA", "Iowa", Plains, ["Orchard", "Hedrick", "Wapinitia"]),
        ("KS", "Kansas", Plains, ["Sylvanite", "Lucas", "Clifton"]),
        ("KY", "Kentucky", Southeast, ["Kentucky Lake", "Jemison", "Berea"]),
        ("LA", "Louisiana", Southeast, ["Frankewing", "Oak Ridge", "Golden Meadow"]),
        ("ME", "Maine", NewEngland, ["Lubec", "Stonington", "Jackman"]),
        ("MD", "Maryland", Mideast, ["Trappe", "Accident", "Rising Sun"]),
        ("MA", "Massachusetts[E]", NewEngland, ["Gasport", "Shelburne", "Orleans"]),
        ("MI", "Michigan", GreatLakes, ["Vanderbilt", "Munising", "Hell"]),
        ("MN", "Minnesota", Plains, ["Medicine Lake", "Ely", "Lutsen"]),
        ("MS", "Mississippi", Southeast, ["Glancy", "Lucedale", "Ruth"]),
        ("MO", "Missouri", Plains, ["Olivette", "Ava", "Arrow Rock"]),
        ("MT", "Montana", RockyMountain, ["Sylvanite", "Absarokee", "Ennis"]),
        ("NE", "Nebraska", Plains, ["Broken Bow", "Valentine", "Red Cloud"]),
        ("NV", "Nevada", FarWest, ["Jarbidge", "Goldfield", "Ely"]),
        ("NH", "New Hampshire", NewEngland, ["Sugar Hill", "Dublin", "Wentworth"]),
        ("NJ", "New Jersey", Mideast, ["Muir", "Loveladies", "Tuckerton"]),
        ("NM", "New Mexico", Southwest, ["Sans Souci", "Cloudcroft", "Pie Town"]),
        ("NY", "New York", Mideast, ["Wappingers Falls", "Skaneateles", "Hague"]),
        ("NC", "North Carolina", Southeast, ["Bat Cave", "Ocracoke", "Hot House"]),
        ("ND", "North Dakota", Plains, ["Medora", "Mott", "Zap"]),
        ("OH", "Ohio", GreatLakes, ["Glen Avon", "Put-in-Bay", "Yellow Springs"]),
        ("OK", "Oklahoma", Southwest, ["Slaughterville", "Beaver", "Gotebo"]),
        ("OR", "Oregon", FarWest, ["Sisters", "Drain", "Fossil"]),
        ("PA", "Pennsylvania", Mideast, ["Roe Park", "Intercourse", "Forksville"]),
        ("PR", "Puerto Rico (US Territory)", External, ["Barahona", "Culebra", "Lares"]),
        ("RI", "Rhode Island", NewEngland, ["Block Island", "Tiverton", "Wyoming"]),
        ("SC", "South Carolina", Southeast, ["Ninety Six", "Edisto", "Due West"]),
        ("SD", "South Dakota", Plains, ["Wall", "Deadwood", "Faith"]),
        ("TN", "Tennessee", Southeast, ["Bell Buckle", "Nutbush", "Sewanee"]),
        ("TX", "Texas", Southwest, ["Gargatha", "Cut and Shoot", "Marfa"]),
        ("UT", "Utah", RockyMountain, ["Beryl", "Kanab", "Helper"]),
        ("VT", "Vermont", NewEngland, ["Peru", "Grafton", "Victory"]),
        ("VI", "Virgin Islands (US Territory)", External, ["Cruz Bay", "Frederiksted", "Coral Bay"]),
        ("VA", "Virginia", Southeast, ["Onancock", "Floyd", "Tangier"]),
        ("WA", "Washington", FarWest, ["La Push", "Twisp", "Startup"]),
        ("WV", "West Virginia", Southeast, ["Thurmond", "Hundred", "Odd"]),
        ("WI", "Wisconsin", GreatLakes, ["Luck", "Egg Harbor", "Imbary"]),
        ("WY", "Wyoming", RockyMountain, ["Ten Sleep", "Chugwater", "Jeffrey City"]),
    ]
};

/// A sales territory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the territories are Wide World Importers' own")]
pub enum Territory {
    Southeast,
    Mideast,
    Southwest,
    Plains,
    GreatLakes,
    FarWest,
    RockyMountain,
    NewEngland,
    External,
}
impl Territory {
    /// The original's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Southeast => "Southeast",
            Self::Mideast => "Mideast",
            Self::Southwest => "Southwest",
            Self::Plains => "Plains",
            Self::GreatLakes => "Great Lakes",
            Self::FarWest => "Far West",
            Self::RockyMountain => "Rocky Mountain",
            Self::NewEngland => "New England",
            Self::External => "External",
        }
    }
}

/// Customers by territory, in the order of [`Territory`].
pub const CUSTOMERS_BY_TERRITORY: [u32; 9] = [146, 98, 93, 87, 77, 76, 43, 33, 10];

/// Customer categories; an eighth, `Retailer`, is added and renamed while the log runs.
pub const CATEGORIES: [&str; 7] =
    ["Agent", "Wholesaler", "Novelty Shop", "Supermarket", "Computer Store", "Gift Store", "Corporate"];

/// Customers by category, in the order of [`CATEGORIES`].
pub const CUSTOMERS_BY_CATEGORY: [u32; 7] = [0, 0, 459, 58, 51, 48, 47];

/// Chains: name, and the domain of its stores' mail.
pub const GROUPS: [(&str, &str); 2] = [("Tailspin Toys", "tailspintoys"), ("Wingtip Toys", "wingtiptoys")];

/// First names of customers that belong to no chain.
pub const FIRST_NAMES: [&str; 32] = [
    "Aakriti",
    "Bala",
    "Camille",
    "Dhanishta",
    "Eric",
    "Farrokh",
    "Gayatri",
    "Hubert",
    "Isabela",
    "Jae-Hwa",
    "Kumar",
    "Ludmila",
    "Malorie",
    "Nasrin",
    "Olya",
    "Promita",
    "Quan",
    "Risto",
    "Shantanu",
    "Taneli",
    "Ursula",
    "Valter",
    "Wai",
    "Xenia",
    "Yves",
    "Zbigniew",
    "Amrita",
    "Bijoya",
    "Caterina",
    "Daniela",
    "Emil",
    "Francisca",
];
/// Last names.
pub const LAST_NAMES: [&str; 32] = [
    "Byakod",
    "Dixit",
    "Authier",
    "Majumdar",
    "Torres",
    "Khorrami",
    "Gunnarsson",
    "Helms",
    "Lindal",
    "Shin",
    "Naicker",
    "Horak",
    "Bousquet",
    "Omidzadeh",
    "Izmaylov",
    "Chattopadhyay",
    "Van",
    "Valbe",
    "Huiting",
    "Riisalu",
    "Zoric",
    "Fiala",
    "Ganguly",
    "Petrov",
    "Belanger",
    "Kask",
    "Ghosh",
    "Mukherjee",
    "Pinto",
    "Antunes",
    "Roman",
    "Lo Duca",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_territory_that_has_customers_has_states() {
        for (territory, customers) in CUSTOMERS_BY_TERRITORY.iter().enumerate() {
            let states = STATES.iter().filter(|state| state.2 as usize == territory).count();
            assert!(states > 0 && *customers > 0);
        }
        assert_eq!(CUSTOMERS_BY_TERRITORY.iter().sum::<u32>(), 663);
        assert_eq!(CUSTOMERS_BY_CATEGORY.iter().sum::<u32>(), 663);
    }
}
