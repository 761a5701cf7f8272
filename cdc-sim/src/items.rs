//! The 227 stock items: 219 from the start, and eight chilled chocolates from 2016 on. They are families of
//! products with the original's names, prices, pack sizes, lead times and weights.

/// A product without an id.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    /// The name of its family.
    pub family: &'static str,
    /// What distinguishes it in its family: a colour, a size, a motto.
    pub variant: &'static str,
    /// Colour.
    pub color: Option<&'static str>,
    /// Size.
    pub size: Option<&'static str>,
    /// Brand.
    pub brand: Option<&'static str>,
    /// Price in cents.
    pub price: i64,
    /// Pieces per carton; order quantities are multiples of it.
    pub per_outer: i32,
    /// Days from reordering to arrival.
    pub lead_days: i32,
    /// Weight in grams.
    pub grams: i64,
    /// Whether it must be kept cold.
    pub chilled: bool,
}

/// Number of items in the warehouse from the start.
pub const BASE_ITEMS: usize = 219;

struct Family {
    name: &'static str,
    brand: Option<&'static str>,
    colors: &'static [&'static str],
    /// Sizes or other variants; `""` for a product without variants.
    variants: &'static [&'static str],
    sized: bool,
    price: i64,
    /// Price increase from one variant to the next.
    step: i64,
    per_outer: i32,
    lead_days: i32,
    grams: i64,
    chilled: bool,
}
const FAMILY: Family = Family {
    name: "",
    brand: None,
    colors: &[],
    variants: &[""],
    sized: false,
    price: 0,
    step: 0,
    per_outer: 1,
    lead_days: 14,
    grams: 350,
    chilled: false,
};

const SHIRT_SIZES: &[&str] =
    &["3XS", "XXS", "XS", "S", "M", "L", "XL", "XXL", "3XL", "4XL", "5XL", "6XL", "7XL"];
const JACKET_SIZES: &[&str] = &["XXS", "XS", "S", "M", "L", "XL", "XXL", "3XL", "4XL", "5XL"];
const FOOT_SIZES: &[&str] = &["S", "M", "L", "XL"];
const JOKES: &[&str] = &[
    "you might be a DBA if",
    "mind if I join you?",
    "daaaaaa-ta",
    "SELECT caffeine FROM mug",
    "two types of DBAs",
    "inheritance is the OO way",
    "understanding recursion requires understanding recursion",
    "there are 10 types of people in the world",
    "a foo walks into a bar",
    "I don't work here. I live here",
    "keyboard not found",
    "old C developers never die",
    "when your hammer is C++",
    "fun was unexpected at this time",
    "it depends",
    "I will get you in order",
    "the cloud is someone else's computer",
    "hodor",
    "this is not a bug",
    "your query is running",
    "commit early",
];
const POSTERS: &[&str] = &[
    "tabs",
    "spaces",
    "off by one",
    "works on my machine",
    "have you tried turning it off",
    "99 little bugs",
    "null island",
    "there is no place like 127.0.0.1",
    "semicolon",
    "rubber duck",
    "release on Friday",
];
const FOODS: &[&str] = &[
    "sushi roll",
    "hamburger",
    "hot dog",
    "pizza slice",
    "banana",
    "chocolate bar",
    "cookie",
    "donut",
    "shrimp cocktail",
    "fortune cookie",
];
const CARTONS: &[&str] = &[
    "229x229x229mm",
    "279x254x217mm",
    "305x305x305mm",
    "356x229x229mm",
    "356x356x279mm",
    "413x285x187mm",
    "457x279x279mm",
    "457x457x457mm",
    "480x270x320mm",
    "500x310x310mm",
];

/// One family per line.
#[rustfmt::skip]
const FAMILIES: &[Family] = &[
    Family { name: "DBA joke mug", colors: &["White", "Black"], variants: JOKES, price: 1_300, lead_days: 12, grams: 150, ..FAMILY },
    Family { name: "USB missile launcher", colors: &["Green"], price: 2_500, grams: 300, ..FAMILY },
    Family { name: "USB rocket launcher", colors: &["Gray"], price: 2_500, lead_days: 14, grams: 300, ..FAMILY },
    Family { name: "Office cube periscope", colors: &["Black"], price: 1_850, per_outer: 10, grams: 250, ..FAMILY },
    Family { name: "USB food flash drive", variants: FOODS, price: 3_200, lead_days: 14, grams: 50, ..FAMILY },
    Family { name: "USB food flash drive - dim sum 10 drive variety pack", price: 24_000, grams: 500, ..FAMILY },
    Family { name: "USB food flash drive - dessert 10 drive variety pack", price: 24_000, grams: 500, ..FAMILY },
    Family { name: "\"The Gu\" red shirt XML tag t-shirt", colors: &["White", "Black"], variants: SHIRT_SIZES, sized: true, price: 1_800, per_outer: 12, lead_days: 7, grams: 350, ..FAMILY },
    Family { name: "Alien officer hoodie", colors: &["Black"], variants: JACKET_SIZES, sized: true, price: 3_500, lead_days: 12, grams: 600, ..FAMILY },
    Family { name: "Superhero action jacket", colors: &["Blue"], variants: SHIRT_SIZES, sized: true, price: 2_500, step: 100, lead_days: 12, grams: 450, ..FAMILY },
    Family { name: "Dinosaur battery-powered slippers", colors: &["Green"], variants: FOOT_SIZES, sized: true, price: 3_200, lead_days: 12, grams: 350, ..FAMILY },
    Family { name: "Ogre battery-powered slippers", colors: &["Green"], variants: FOOT_SIZES, sized: true, price: 3_200, lead_days: 12, grams: 350, ..FAMILY },
    Family { name: "Animal with big feet slippers", colors: &["Brown"], variants: FOOT_SIZES, sized: true, price: 3_200, lead_days: 12, grams: 350, ..FAMILY },
    Family { name: "Plush shark slippers", colors: &["Gray"], variants: FOOT_SIZES, sized: true, price: 3_200, lead_days: 12, grams: 350, ..FAMILY },
    Family { name: "Furry animal socks", colors: &["Pink"], variants: FOOT_SIZES, sized: true, price: 500, per_outer: 96, lead_days: 12, grams: 50, ..FAMILY },
    Family { name: "Halloween zombie mask", colors: &["Light Brown"], variants: FOOT_SIZES, sized: true, price: 1_800, per_outer: 12, lead_days: 12, grams: 250, ..FAMILY },
    Family { name: "Halloween skull mask", colors: &["Gray"], variants: FOOT_SIZES, sized: true, price: 1_800, per_outer: 12, lead_days: 12, grams: 250, ..FAMILY },
    Family { name: "RC toy sedan car with remote control 1/50 scale", brand: Some("Northwind"), colors: &["Black", "Red", "Blue", "Green", "Yellow", "Pink"], price: 2_500, per_outer: 1, grams: 1_500, ..FAMILY },
    Family { name: "RC vintage American toy coupe with remote control 1/50 scale", brand: Some("Northwind"), colors: &["Red", "Black"], price: 3_000, grams: 1_500, ..FAMILY },
    Family { name: "RC big wheel monster truck with remote control 1/50 scale", brand: Some("Northwind"), colors: &["Black"], price: 4_500, grams: 1_800, ..FAMILY },
    Family { name: "Ride on toy sedan car 1/12 scale", brand: Some("Northwind"), colors: &["Black", "Red", "Blue", "Green", "Yellow", "Pink"], price: 23_000, grams: 15_000, ..FAMILY },
    Family { name: "Ride on vintage American toy coupe 1/12 scale", brand: Some("Northwind"), colors: &["Red", "Black"], price: 28_500, grams: 18_000, ..FAMILY },
    Family { name: "Ride on big wheel monster truck 1/12 scale", brand: Some("Northwind"), colors: &["Black"], price: 34_500, grams: 21_000, ..FAMILY },
    Family { name: "Shipping carton", colors: &["Brown"], variants: CARTONS, price: 105, step: 25, per_outer: 25, grams: 200, ..FAMILY },
    Family { name: "Clear packaging tape 48mmx75m", price: 66, per_outer: 36, grams: 120, ..FAMILY },
    Family { name: "Red Fragile tape 48mmx100m", price: 410, per_outer: 36, grams: 150, ..FAMILY },
    Family { name: "Permanent marker 5mm nib", colors: &["Black", "Blue", "Red"], price: 270, per_outer: 12, lead_days: 7, grams: 100, ..FAMILY },
    Family { name: "Packing knife with metal insert blade", colors: &["Yellow"], variants: &["9mm", "18mm"], price: 189, step: 51, per_outer: 5, grams: 80, ..FAMILY },
    Family { name: "Small sized bubblewrap roll", variants: &["10m", "20m", "50m"], price: 2_000, step: 1_200, per_outer: 10, lead_days: 14, grams: 500, ..FAMILY },
    Family { name: "Large sized bubblewrap roll", variants: &["20m", "50m"], price: 3_600, step: 6_000, per_outer: 10, grams: 1_000, ..FAMILY },
    Family { name: "Anti static bubble wrap", colors: &["Blue"], variants: &["10mm 10m", "10mm 20m", "10mm 50m", "20mm 10m", "20mm 20m", "20mm 50m", "32mm 10m", "32mm 20m", "32mm 50m"], price: 2_600, step: 950, per_outer: 10, grams: 700, ..FAMILY },
    Family { name: "Double sided bubble wrap", variants: &["10mm 10m", "10mm 20m", "10mm 50m", "20mm 10m", "20mm 20m", "20mm 50m", "32mm 10m", "32mm 20m", "32mm 50m"], price: 2_900, step: 1_000, per_outer: 10, grams: 700, ..FAMILY },
    Family { name: "Bubblewrap dispenser 1.5m", colors: &["Black", "Blue", "Red"], price: 24_000, grams: 10_000, lead_days: 20, ..FAMILY },
    Family { name: "Air cushion machine", colors: &["Blue"], price: 189_900, grams: 10_000, lead_days: 20, ..FAMILY },
    Family { name: "Air cushion film 200mmx100mm 325m", price: 8_700, per_outer: 2, grams: 6_000, ..FAMILY },
    Family { name: "Air cushion film 200mmx200mm 325m", price: 9_000, per_outer: 2, grams: 6_000, ..FAMILY },
    Family { name: "Void fill", colors: &["White"], variants: &["100 L bag", "200 L bag", "300 L bag", "400 L bag"], price: 1_250, step: 1_250, per_outer: 10, grams: 250, ..FAMILY },
    Family { name: "Express post box", colors: &["White"], variants: &["5kg", "10kg", "20kg"], price: 160, step: 75, per_outer: 25, grams: 100, ..FAMILY },
    Family { name: "Tape dispenser", colors: &["Black", "Blue", "Red"], price: 3_200, grams: 500, ..FAMILY },
    Family { name: "Developer joke poster", variants: POSTERS, price: 1_800, per_outer: 12, lead_days: 2, grams: 60, ..FAMILY },
    // These arrive in 2016.
    Family { name: "Chocolate beetles 250g", price: 855, per_outer: 24, lead_days: 3, grams: 250, chilled: true, ..FAMILY },
    Family { name: "Chocolate echidnas 250g", price: 855, per_outer: 24, lead_days: 3, grams: 250, chilled: true, ..FAMILY },
    Family { name: "Chocolate frogs 250g", price: 855, per_outer: 24, lead_days: 3, grams: 250, chilled: true, ..FAMILY },
    Family { name: "Chocolate sharks 250g", price: 855, per_outer: 24, lead_days: 3, grams: 250, chilled: true, ..FAMILY },
    Family { name: "Novelty chilli chocolates", variants: &["250g", "500g"], price: 855, step: 595, per_outer: 24, lead_days: 3, grams: 250, chilled: true, ..FAMILY },
    Family { name: "White chocolate moon rocks 250g", price: 855, per_outer: 24, lead_days: 3, grams: 250, chilled: true, ..FAMILY },
    Family { name: "White chocolate snow balls 250g", price: 855, per_outer: 24, lead_days: 3, grams: 250, chilled: true, ..FAMILY },
];

/// All items, with the chocolates last.
pub fn all() -> Vec<Item> {
    let mut items = Vec::new();
    for family in FAMILIES {
        let colors: Vec<Option<&'static str>> = if family.colors.is_empty() {
            vec![None]
        } else {
            family.colors.iter().copied().map(Some).collect()
        };
        for color in colors {
            let mut price = family.price;
            for variant in family.variants.iter().copied() {
                items.push(Item {
                    family: family.name,
                    variant,
                    color,
                    size: family.sized.then_some(variant),
                    brand: family.brand,
                    price,
                    per_outer: family.per_outer,
                    lead_days: family.lead_days,
                    grams: family.grams,
                    chilled: family.chilled,
                });
                price += family.step;
            }
        }
    }
    items
}

impl Item {
    /// The full name, which is unique.
    pub fn name(&self) -> String {
        let mut name = self.family.to_owned();
        if !self.variant.is_empty() {
            name.push_str(if self.size.is_some() { " " } else { " - " });
            name.push_str(self.variant);
        }
        if let Some(color) = self.color {
            name.push_str(&format!(" ({color})"));
        }
        name
    }
    /// Tax in thousandths of a percent: 15 %, chilled goods 10 %.
    pub fn tax(&self) -> i64 {
        if self.chilled { 10_000 } else { 15_000 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_219_items_and_8_chocolates_with_names_of_their_own() {
        let items = all();
        assert_eq!(items.len(), BASE_ITEMS + 8);
        assert!(items[..BASE_ITEMS].iter().all(|item| !item.chilled));
        assert!(items[BASE_ITEMS..].iter().all(|item| item.chilled));
        let names: BTreeSet<String> = items.iter().map(Item::name).collect();
        assert_eq!(names.len(), items.len());
        assert!(names.iter().all(|name| name.len() <= 100));
    }

    #[test]
    fn prices_spread_as_documented() {
        let mut prices: Vec<i64> = all()[..BASE_ITEMS].iter().map(|item| item.price).collect();
        prices.sort_unstable();
        let quartile = |n: usize| prices[prices.len() * n / 4];
        assert_eq!((prices[0], quartile(1), quartile(2), quartile(3)), (66, 1_300, 1_800, 3_200));
        assert_eq!(prices.last(), Some(&189_900));
    }
}
